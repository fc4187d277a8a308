/** The rules for the rows of an import, and the statement that inserts those of one message. */

import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import { v7 as uuidv7 } from 'uuid'
import { uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { ImportedUser } from '#gen/admin/v1/admin_pb.ts'
import type { AccountParts } from '../accounts/account-parts.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import { outbox, users } from '../schema.ts'

/** Why a row is not imported; the explanations contain no data of the row. */
export const rejectionDetails = {
  EMAIL_INVALID: `email: ${emailRule}`,
  ID_INVALID: 'id: must be a UUID in its canonical lower-case form, or empty',
  CREATED_AT_INVALID: 'created_at: must be a time from 1970 to now',
  HASH_UNSUPPORTED: 'password_hash: has a form or parameters that docs/guides/import-users.md does not list',
  HASH_TOO_COSTLY: 'password_hash: would take more time than bcrypt of cost 14, or more than 128 MiB',
  ADDRESS_TAKEN: 'email: an account with this address exists',
  ADDRESS_REPEATED: 'email: an earlier row has this address',
  ID_TAKEN: 'id: an account with this id exists',
  ID_REPEATED: 'id: an earlier row has this id'
} as const
export type Rejection = keyof typeof rejectionDetails

/** A row that meets the rules. */
export interface ImportRow {
  /** Its number in the call, from 1. */
  number: number
  id: string
  email: string
  passwordHash: string
  createdAt: Date | null
  emailVerified: boolean
  disabled: boolean
}

const nilUuid = '00000000-0000-0000-0000-000000000000'
// Clocks of two systems differ.
const maxFutureMs = 60_000

/** @returns the row in its stored form, or the rule that it breaks */
export function checkRow(
  written: ImportedUser,
  number: number,
  passwords: AccountParts['passwords']
): ImportRow | Rejection {
  const { emailVerified, disabled } = written
  const email = normalizeEmail(written.email)
  if (email === undefined) return 'EMAIL_INVALID'
  const id = written.id === '' ? uuidv7() : written.id
  if (!uuidRule('id', id).value || id === nilUuid) return 'ID_INVALID'
  const createdAt = written.createdAt ? timeOf(written.createdAt) : null
  if (createdAt === undefined) return 'CREATED_AT_INVALID'
  const passwordHash = written.passwordHash || noPassword
  const problem = passwordHash === noPassword ? undefined : passwords.importProblem(passwordHash)
  return problem ?? { number, id, email, passwordHash, createdAt, emailVerified, disabled }
}

function timeOf(timestamp: Timestamp): Date | undefined {
  const ms = timestampMs(timestamp)
  return ms >= 0 && ms <= Date.now() + maxFutureMs ? new Date(ms) : undefined
}

/**
 * Inserts rows unless their address or id exists, with their events. The events are not `null` in `claimed_until`, so the
 * relay delivers all events of other requests before them.
 *
 * @param importId marks the accounts of this call
 * @returns the rows that were inserted
 */
export async function insertRows(
  db: Database,
  rows: ImportRow[],
  importId: string,
  call: Call
): Promise<Set<ImportRow>> {
  const column = <K extends keyof ImportRow>(name: K) => sql.param(rows.map((row) => row[name]))
  const statement = db.execute<{ id: string; email: string }>(sql`
    with inserted as (
      insert into ${users} (id, email, password_hash, session_epoch, created_at, email_verified_at, disabled_at)
      select id, email, password_hash, 0, coalesce(created_at, now()),
        case when verified then now() end, case when disabled then now() end
      from unnest(
        ${column('id')}::uuid[], ${column('email')}::text[], ${column('passwordHash')}::text[],
        ${column('createdAt')}::timestamptz[], ${column('emailVerified')}::boolean[], ${column('disabled')}::boolean[]
      ) as input (id, email, password_hash, created_at, verified, disabled)
      on conflict do nothing returning id, email, email_verified_at, disabled_at),
    events as (
      insert into ${outbox} (type, user_id, payload, claimed_until)
      select type, id, jsonb_build_object('importId', ${importId}::text), now() from inserted
      cross join lateral (values
        (1, 'user.created', true), (2, 'user.email_verified', email_verified_at is not null),
        (3, 'user.disabled', disabled_at is not null)) as event (step, type, applies)
      where applies order by step)
    select id, email from inserted`)
  const result = await callEngine(call.signal, statement, true)
  // Of rows that are equal, the first was inserted.
  const byKey = new Map(rows.toReversed().map((row) => [keyOf(row), row]))
  return new Set(result.rows.flatMap((row) => byKey.get(keyOf(row)) ?? []))
}

const keyOf = ({ id, email }: Pick<ImportRow, 'id' | 'email'>) => `${id} ${email}`

/** Finds out why valid rows were not inserted. */
export async function findConflicts(
  db: Database,
  rows: ImportRow[],
  importId: string,
  call: Call
): Promise<{ number: number; reason: Rejection }[]> {
  const [ids, addresses] = [sql.param(rows.map(({ id }) => id)), sql.param(rows.map(({ email }) => email))]
  const statement = db.execute<{ id: string; email: string; repeated: boolean }>(sql`
    select id, email, exists (
      select from ${outbox} as event where event.user_id = account.id and payload->>'importId' = ${importId}) as repeated
    from ${users} as account where id = any(${ids}::uuid[]) or email = any(${addresses}::text[])`)
  const existing = (await callEngine(call.signal, statement)).rows
  const byEmail = new Map(existing.map((row) => [row.email, row.repeated]))
  const byId = new Map(existing.map((row) => [row.id, row.repeated]))
  return rows.map(({ number, id, email }) => {
    // Without an entry in either map, the account was deleted meanwhile.
    const isOfId = !byEmail.has(email) && byId.has(id)
    const isRepeated = (isOfId ? byId.get(id) : byEmail.get(email)) ?? false
    const reason = isOfId
      ? isRepeated
        ? 'ID_REPEATED'
        : 'ID_TAKEN'
      : isRepeated
        ? 'ADDRESS_REPEATED'
        : 'ADDRESS_TAKEN'
    return { number, reason }
  })
}
