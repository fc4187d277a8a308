/** What every route answers while redis is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './matrix-test.ts'

testMatrix('redis')
