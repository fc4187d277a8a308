/** The responses of every route while redis is absent, killed, frozen, slow, resetting, or back and empty. */

import { testMatrix } from './test-matrix.ts'

testMatrix('redis')
