/** Shared by the tests of accounts: a service, addresses, the error of a rejected call. */

import { ConnectError } from '@connectrpc/connect'
import type { Test } from 'tap'
import { codeName } from '#common/errors/codes.ts'
import { fieldViolations, reasonMetadata } from '#common/errors/connect-errors.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import type { MailParts } from '../../accounts/account-parts.ts'
import type { EmailPurpose } from '../../mail/email-purposes.ts'
import { emailToken } from '../../mail/email-token.ts'
import { startUserSvc } from '../service.ts'

export const password = 'correct horse battery staple'

let count = 0
export const newAddress = () => `user${++count}@example.org`

/** A service with a session-svc that is available and without sessions at the start of each test. */
export async function startAccountTests(
  t: Pick<Test, 'teardown' | 'beforeEach'>,
  options: Parameters<typeof startUserSvc>[1] = {}
) {
  const service = await startUserSvc(t, options)
  t.beforeEach(() => {
    Object.assign(service.sessions, { serving: true, failure: undefined, beforeCreate() {} })
    service.sessions.live.clear()
  })
  return service
}

/** The reason of a rejected call in the contract of accounts, or its code. */
export function reasonOf(error: ConnectError): string {
  const info = error.findDetails(ErrorInfoSchema).find(({ domain }) => domain === 'user.v1')
  return info?.reason ?? codeName(error.code)
}

/** The fields that a rejected call names. */
export const fieldsOf = (error: ConnectError) => fieldViolations(error).map(({ field }) => field)

/** @throws Error if the call succeeds */
export async function rejection(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error('the call succeeded')
    },
    (error) => ConnectError.from(error)
  )
}

/** Whether an error means that the address or the password is wrong. */
export function hasRejectedCredentials(error: ConnectError): boolean {
  return reasonMetadata(error, 'user.v1', 'CREDENTIALS_REJECTED') !== undefined
}

type Sql = Awaited<ReturnType<typeof startUserSvc>>['sql']

/** The rows of an account's emails of a purpose, the newest first. */
export async function emailsOf(sql: Sql, userId: string, purpose: EmailPurpose) {
  const rows = await sql`
    select * from emails where user_id = ${userId} and purpose = ${purpose} order by created_at desc, id desc`
  return rows.map((row) => ({
    id: row.id as string,
    userId: row.user_id as string,
    purpose: row.purpose as string,
    recipient: row.recipient as string,
    sessionEpoch: BigInt(row.session_epoch),
    expiresAt: row.expires_at as Date,
    usedAt: row.used_at as Date | null
  }))
}

/** The token in the newest email of a purpose to an account. */
export async function newestToken(
  { sql, mail }: { sql: Sql; mail: MailParts | undefined },
  userId: string,
  purpose: EmailPurpose
) {
  const [row] = await emailsOf(sql, userId, purpose)
  if (row === undefined) throw new Error(`the account has no email of the purpose ${purpose}`)
  return emailToken(row, mail?.keys ?? [])
}

/** Makes PostgreSQL reject each statement that writes to the outbox, as with a full disk. @returns a function that ends this */
export async function rejectEvents(sql: Sql): Promise<() => Promise<void>> {
  await sql`
    create function reject_event() returns trigger language plpgsql as
    $$ begin raise exception 'disk full' using errcode = '53100'; end $$`
  await sql`create trigger reject_event before insert on outbox for each row execute function reject_event()`
  return async () => {
    await sql`drop trigger reject_event on outbox`
    await sql`drop function reject_event`
  }
}
