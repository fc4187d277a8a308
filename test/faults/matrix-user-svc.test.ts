/** What every route answers while user-svc is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './matrix-test.ts'

testMatrix('user-svc')
