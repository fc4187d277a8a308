/** Deletion: one statement deletes the account and writes its event; then its sessions end, here or by the outbox relay. */

import { Code, ConnectError } from '@connectrpc/connect'
import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { capRevokedEpoch, maxCreatedEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { and, eq, sql } from '../drizzle.ts'
import { outbox, users } from '../schema.ts'
import type { AccountParts } from './account-parts.ts'

type DeletionParts = Pick<AccountParts, 'db' | 'sessionClient'>

/** A repeated call completes an interrupted deletion. */
export async function deleteAccount({ db, sessionClient }: DeletionParts, userId: string, call: Call): Promise<void> {
  requireFields(uuidRule('user_id', userId))
  const epoch = (await deleteRow(db, userId, call)) ?? (await epochOfDeletion(db, userId, call))
  // A database restored from an older backup may not know the account: no counted epoch is as high as this one.
  const revocation = { userId, epoch: capRevokedEpoch(epoch ?? maxRevokedEpoch), all: true }
  await sessionClient.sessions.deleteUserSessions(revocation, propagate(call)).catch((error) => {
    // The row is deleted already, so `unavailable`, which means certainly not applied, would be wrong.
    throw ConnectError.from(error).code === Code.Unavailable ? deadlineExceeded() : error
  })
}

/**
 * Deletes the rows of all tables that `effectOfDeletion` declares as erased.
 *
 * @returns the raised session epoch, or nothing if there is no such account
 */
async function deleteRow(db: Database, userId: string, call: Call): Promise<bigint | undefined> {
  const statement = db.execute<{ session_epoch: string }>(sql`
    with deleted as (delete from ${users} where ${users.id} = ${userId} returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch)
    select 'user.deleted', id, least(session_epoch, ${String(maxCreatedEpoch)}::bigint) + 1 from deleted
    returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  return row && BigInt(row.session_epoch)
}

async function epochOfDeletion(db: Database, userId: string, call: Call): Promise<bigint | undefined> {
  const isDeletion = and(eq(outbox.userId, userId), eq(outbox.type, 'user.deleted'))
  const rows = await callEngine(call.signal, db.select({ epoch: outbox.sessionEpoch }).from(outbox).where(isDeletion))
  return rows[0]?.epoch ?? undefined
}
