/** The errors of accounts that callers distinguish by their reason. */

import { Code, type ConnectError } from '@connectrpc/connect'
import { errorWithReason } from '#common/errors/connect-errors.ts'

const domain = 'user.v1'

export function addressTaken(): ConnectError {
  const sentence = 'An account with this address exists.'
  return errorWithReason(Code.AlreadyExists, sentence, { domain, reason: 'ADDRESS_TAKEN' })
}

/** For a wrong address and a wrong password alike. */
export function credentialsRejected(): ConnectError {
  const sentence = 'The address or the password is wrong.'
  return errorWithReason(Code.Unauthenticated, sentence, { domain, reason: 'CREDENTIALS_REJECTED' })
}

export function accountNotFound(): ConnectError {
  const sentence = 'There is no such account.'
  return errorWithReason(Code.NotFound, sentence, { domain, reason: 'ACCOUNT_NOT_FOUND' })
}

/** For the password of an account that the caller acts for; also if it was changed during the call. */
export function wrongPassword(sentence = 'The password is wrong.'): ConnectError {
  return errorWithReason(Code.PermissionDenied, sentence, { domain, reason: 'WRONG_PASSWORD' })
}

/** Only after a correct password. */
export function accountDisabled(): ConnectError {
  const sentence = 'This account is disabled.'
  return errorWithReason(Code.PermissionDenied, sentence, { domain, reason: 'ACCOUNT_DISABLED' })
}

/** Only after a correct password. */
export function emailNotVerified(): ConnectError {
  const sentence = 'The address of this account is not verified.'
  return errorWithReason(Code.PermissionDenied, sentence, { domain, reason: 'EMAIL_NOT_VERIFIED' })
}

/** For every token that has no effect, whatever the cause. */
export function tokenRejected(): ConnectError {
  const sentence = 'The token is invalid, expired or used.'
  return errorWithReason(Code.PermissionDenied, sentence, { domain, reason: 'TOKEN_REJECTED' })
}

export function mailNotConfigured(): ConnectError {
  const sentence = 'This service sends no email.'
  return errorWithReason(Code.FailedPrecondition, sentence, { domain, reason: 'MAIL_NOT_CONFIGURED' })
}
