/** The errors of accounts that callers distinguish by their reason. */

import { Code, type ConnectError } from '@connectrpc/connect'
import { errorWithReason } from '#common/errors/connect-errors.ts'

export function addressTaken(): ConnectError {
  const sentence = 'An account with this address exists.'
  return errorWithReason(Code.AlreadyExists, sentence, { domain: 'user.v1', reason: 'ADDRESS_TAKEN' })
}

/** For a wrong address and a wrong password alike. */
export function credentialsRejected(): ConnectError {
  const sentence = 'The address or the password is wrong.'
  return errorWithReason(Code.Unauthenticated, sentence, { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' })
}
