/** What every route answers while kafka is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './matrix-test.ts'

testMatrix('kafka')
