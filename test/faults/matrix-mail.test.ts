/** The responses of every route while the mail server is absent, killed, frozen, slow or resetting. */

import { testMatrix } from './test-matrix.ts'

testMatrix('mail')
