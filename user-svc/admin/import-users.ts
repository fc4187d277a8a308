/** Import of accounts from a stream: each message is one statement, and nothing is hashed. */

import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import { invalidFields, unavailable } from '#common/errors/connect-errors.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { TimeoutError, withinMs } from '#common/time/timeout.ts'
import type { ImportedUser, ImportUsersRequest } from '#gen/admin/v1/admin_pb.ts'
import type { AccountParts } from '../accounts/account-parts.ts'
import { checkRow, findConflicts, type ImportRow, insertRows, type Rejection, rejectionDetails } from './import-rows.ts'

const maxRowsOfMessage = 1000
const maxReported = 1000

export interface ImportParts extends Pick<AccountParts, 'db' | 'passwords'> {
  /** The time within which the next message has to arrive. */
  maxIdleMs: number
  /** The service is to stop. */
  isDraining: () => boolean
  clock?: Clock
}

export interface ImportResult {
  imported: number
  rejected: number
  rejections: { row: number; reason: Rejection; detail: string }[]
}

/** @throws ConnectError with the number of the last row that was processed; never `unavailable` after the first message */
export async function importUsers(
  parts: ImportParts,
  requests: AsyncIterable<ImportUsersRequest>,
  call: Call,
  result: ImportResult = { imported: 0, rejected: 0, rejections: [] }
): Promise<ImportResult> {
  const importId = randomUUID()
  const processed = () => result.imported + result.rejected
  try {
    for await (const { users } of messages(parts, requests)) {
      call.signal.throwIfAborted()
      if (users.length > maxRowsOfMessage) {
        throw invalidFields([{ field: 'users', description: `must be at most ${maxRowsOfMessage} rows in a message` }])
      }
      await importMessage(parts, { users, firstNumber: processed() + 1, importId, result }, call)
    }
    // The messages of a stream that was reset end like those of a complete one; the signal aborts a moment later.
    await nextTurn()
    call.signal.throwIfAborted()
  } catch (error) {
    throw processed() === 0 ? error : interrupted(toConnectError(error), processed())
  }
  return result
}

/** Part of the call is applied, so `unavailable`, which means certainly not applied, would be wrong. */
function interrupted(error: ConnectError, processed: number): ConnectError {
  const code = error.code === Code.Unavailable ? Code.DeadlineExceeded : error.code
  const sentence = `${error.rawMessage} The rows 1 to ${processed} were processed; the next ones may have been.`
  const interruption = new ConnectError(sentence, code, undefined, undefined, error)
  interruption.details = error.details
  return interruption
}

async function* messages(
  { maxIdleMs, isDraining, clock = systemClock }: ImportParts,
  requests: AsyncIterable<ImportUsersRequest>
): AsyncGenerator<ImportUsersRequest> {
  const iterator = requests[Symbol.asyncIterator]()
  while (true) {
    if (isDraining()) throw unavailable('This instance is stopping.')
    const next = await withinMs(maxIdleMs, iterator.next(), clock).catch((error) => {
      throw error instanceof TimeoutError ? deadlineExceeded(error) : error
    })
    if (next.done) return
    yield next.value
  }
}

interface ImportMessage {
  users: ImportedUser[]
  firstNumber: number
  importId: string
  result: ImportResult
}

async function importMessage(
  { db, passwords }: ImportParts,
  { users, firstNumber, importId, result }: ImportMessage,
  call: Call
): Promise<void> {
  const rows: ImportRow[] = []
  const rejections: { number: number; reason: Rejection }[] = []
  for (const [index, user] of users.entries()) {
    const number = firstNumber + index
    const checked = checkRow(user, number, passwords)
    if (typeof checked === 'string') rejections.push({ number, reason: checked })
    else rows.push(checked)
  }
  const inserted = rows.length > 0 ? await insertRows(db, rows, importId, call) : new Set()
  const conflicting = rows.filter((row) => !inserted.has(row))
  if (conflicting.length > 0) rejections.push(...(await findConflicts(db, conflicting, importId, call)))
  rejections.sort((a, b) => a.number - b.number)
  result.imported += inserted.size
  result.rejected += rejections.length
  const reported = rejections.slice(0, maxReported - result.rejections.length)
  for (const { number, reason } of reported) {
    result.rejections.push({ row: number, reason, detail: rejectionDetails[reason] })
  }
}
