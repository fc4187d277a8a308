/** The responses of every route while session-svc is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './test-matrix.ts'

testMatrix('session-svc')
