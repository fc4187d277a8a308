/** The responses of every route while user-svc is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './test-matrix.ts'

testMatrix('user-svc')
