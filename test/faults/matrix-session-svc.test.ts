/** What every route answers while session-svc is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './matrix-test.ts'

testMatrix('session-svc')
