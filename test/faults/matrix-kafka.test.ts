/** The responses of every route while kafka is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './test-matrix.ts'

testMatrix('kafka')
