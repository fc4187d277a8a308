/** The result of a request for an email, for the log and the metrics only: no response shows it. */

import { mailNotConfigured } from './account-errors.ts'
import type { AccountParts, MailParts } from './account-parts.ts'

/** `unknown`: the address has no account, or must not get the email; a decoy was written. `unneeded`: nothing was written. */
export const emailRequestOutcomes = ['queued', 'limited', 'unknown', 'unneeded'] as const

export interface EmailRequestResult {
  outcome: (typeof emailRequestOutcomes)[number]
  userId?: string
}

/** @throws ConnectError `failed_precondition` MAIL_NOT_CONFIGURED */
export function requireMail(mail: AccountParts['mail']): MailParts {
  if (mail === undefined) throw mailNotConfigured()
  return mail
}
