/** The code of an error, for assertions on outcomes. */

import { type Code, ConnectError } from '@connectrpc/connect'

/** The code with which a call rejects; undefined if it succeeds. */
export const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error) => ConnectError.from(error).code
  )
