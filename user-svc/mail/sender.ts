/**
 * The steps of the sender: sends each email once, unless a process dies during the send. Any number of senders may run,
 * because an email is leased to one of them. An email that cannot be sent delays no other one.
 */

import type { Logger } from '#common/logging/logger.ts'
import { type Probe, ProbeError } from '#common/ops/probe.ts'
import { backoffMs } from '#common/time/backoff.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { EmailMetrics } from '../metrics.ts'
import type { EmailPurpose } from './email-purposes.ts'
import type { DueEmail, EmailRows } from './email-rows.ts'
import { MailError } from './mail-error.ts'
import { createMailFailureLog } from './mail-failure-log.ts'
import type { Deliver, Message } from './message.ts'

export interface SenderParts {
  rows: EmailRows
  compose: (row: DueEmail) => Promise<Message>
  deliver: Deliver
  metrics: EmailMetrics
  log: Logger
  clock?: Clock
}

const concurrency = 5
const recordIntervalMs = 500
// Together shorter than the lease of 75 s, so that no other sender starts with the same email meanwhile.
const startTimeoutMs = 5000
const sendTimeoutMs = 60_000
// After a failure that affects every email, one email shows whether the server works again.
const pause = { baseMs: 500, capMs: 30_000 }

/** A sender without its loop; see mail-sender.ts. */
export function createSender({ rows, compose, deliver, metrics, log, clock = systemClock }: SenderParts) {
  const failures = createMailFailureLog(log, clock)
  const inFlight = new Set<Promise<void>>()
  const aborting = new AbortController()
  let serverFailures = 0
  let unrecorded = 0
  let lastFailure = ''
  let resumesAt = Number.NEGATIVE_INFINITY

  function freeSlots(): number {
    // The lease of a sent email may have ended, so a claim could repeat it.
    if (unrecorded > 0) return 0
    if (serverFailures === 0) return concurrency - inFlight.size
    return clock.now() < resumesAt || inFlight.size > 0 ? 0 : 1
  }

  function onServerFailure(failure: string): void {
    if (clock.now() < resumesAt) return
    resumesAt = clock.now() + backoffMs(serverFailures, pause)
    serverFailures += 1
    lastFailure = failure
  }

  function onDead(email: Pick<DueEmail, 'userId' | 'purpose' | 'failure'>): void {
    metrics.dead.inc()
    const reason = `${email.purpose}: ${email.failure}`
    log.error({ event: 'email_dead', ...(email.userId && { userId: email.userId }), reason }, 'gave up an email')
  }

  async function deliverWithin(message: Message): Promise<void> {
    const late = new AbortController()
    const cancel = clock.startTimer(sendTimeoutMs, () => late.abort(new MailError('timeout')))
    try {
      await deliver(message, AbortSignal.any([late.signal, aborting.signal]))
    } finally {
      cancel()
    }
  }

  async function onFailure(row: DueEmail, thrown: unknown): Promise<void> {
    const error = thrown instanceof MailError ? thrown : new MailError('internal')
    const { kind, failure } = error
    metrics.onFailed(kind)
    failures.log(kind, row, thrown)
    if (error.affectsAll) onServerFailure(failure)
    else if (kind !== 'internal') serverFailures = 0
    if (error.permanent) {
      if (await rows.markDead(row, failure)) onDead({ ...row, failure })
      return
    }
    const isReleased = error.affectsAll || kind === 'stopped'
    const isDead = await (isReleased ? rows.release(row, failure) : rows.backOff(row, failure))
    if (isDead) onDead({ ...row, failure })
  }

  /** Retries until the database has recorded it: otherwise the email would be sent again. */
  async function recordSent(row: DueEmail): Promise<void> {
    unrecorded += 1
    try {
      while (!(await tryRecordSent(row))) await clock.sleep(recordIntervalMs, aborting.signal)
    } finally {
      unrecorded -= 1
    }
  }

  async function tryRecordSent(row: DueEmail): Promise<boolean> {
    try {
      const wasLeased = await rows.markSent(row)
      if (!wasLeased) log.warn({ event: 'email_lease_lost' }, 'sent an email after the end of its lease')
      return true
    } catch (error) {
      log.debug({ event: 'email_not_recorded', err: error }, 'failed to record a sent email, will retry')
      return false
    }
  }

  async function send(row: DueEmail, claimedAt: number): Promise<void> {
    try {
      const message = await compose(row)
      // The process was stopped meanwhile, and another sender may have the lease.
      if (clock.now() - claimedAt > startTimeoutMs) return
      await deliverWithin(message)
    } catch (error) {
      return await onFailure(row, error)
    }
    serverFailures = 0
    metrics.onSent(row.purpose as EmailPurpose)
    await recordSent(row)
  }

  function start(row: DueEmail, claimedAt: number): void {
    // The lease of a row whose result was not recorded ends by itself.
    const sending = send(row, claimedAt)
      .catch((error) => log.debug({ event: 'email_not_recorded', err: error }, 'failed to record an attempt'))
      .finally(() => inFlight.delete(sending))
    inFlight.add(sending)
  }

  return {
    /** Claims emails for the free slots and starts to send them. @returns whether there may be more */
    async startDue(): Promise<boolean> {
      const free = freeSlots()
      if (free <= 0) return inFlight.size > 0
      const claimedAt = clock.now()
      const claimed = await rows.claim(free)
      for (const row of claimed) start(row, claimedAt)
      return claimed.length === free
    },

    /** Resolves when a send has ended; at once if there is none. */
    onSlotFree: async () => void (await Promise.race(inFlight.size > 0 ? inFlight : [undefined])),

    /** Resolves when no send is in flight. */
    onIdle: async () => void (await Promise.all(inFlight)),

    /** Ends the sends that are in flight. */
    abort: () => aborting.abort(new MailError('stopped')),

    /** Gives up expired emails, deletes obsolete rows, and updates the metrics. */
    async housekeep(): Promise<void> {
      await rows.dropObsolete()
      for (const email of await rows.expire()) onDead(email)
      const { pending, oldestSeconds } = await rows.count()
      metrics.pending.set(pending)
      metrics.oldestSeconds.set(oldestSeconds)
      await rows.deleteExpired()
    },

    /** The state of the mail server, as the last attempt showed it: a probe opens no connection. */
    probe: (async () => {
      if (serverFailures > 0) throw new ProbeError(`does not accept emails (${lastFailure})`)
    }) satisfies Probe
  }
}
