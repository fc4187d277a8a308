/** What every route answers while postgres is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './matrix-test.ts'

testMatrix('postgres')
