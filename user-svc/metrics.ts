/** The metrics of user-svc. Every series starts at zero. */

import { Code, ConnectError } from '@connectrpc/connect'
import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import { errorMeaning } from '#common/errors/codes.ts'
import { emailRequestOutcomes } from './accounts/email-request-result.ts'
import type { GuessObserver, RefusalReason } from './brute-force/guess-gate.ts'
import type { GuessClass } from './brute-force/guess-rows.ts'
import { type EmailPurpose, emailPurposes } from './mail/email-purposes.ts'
import { type FailureKind, failureKinds } from './mail/mail-error.ts'
import { callClasses } from './passwords/fair-queue.ts'
import { lanes } from './passwords/hash-lanes.ts'
import type { HashQueueObserver, ShedReason } from './passwords/hash-queue.ts'

export type AccountMetrics = ReturnType<typeof accountMetrics>

export function accountMetrics(registry: Registry) {
  const registers = [registry]
  const labelNames = ['result'] as const
  function resultCounter(name: string, help: string) {
    const counter = new Counter({ name, help, labelNames, registers })
    for (const result of ['ok', 'rejected', 'error']) counter.inc({ result }, 0)
    return counter
  }
  const emailRequests = new Counter({
    name: 'auth_email_requests_total',
    help: 'Requests for an email by purpose and outcome; unknown: no account gets the email',
    labelNames: ['purpose', 'outcome'] as const,
    registers
  })
  for (const purpose of ['verify', 'change', 'reset', 'registration-notice']) {
    for (const outcome of emailRequestOutcomes) emailRequests.inc({ purpose, outcome }, 0)
  }
  const queueLength = new Gauge({
    name: 'auth_password_hash_queue_length',
    help: 'Calls that wait for a free hash slot, by lane',
    labelNames: ['lane'] as const,
    registers
  })
  const queueWait = new Histogram({
    name: 'auth_password_hash_wait_seconds',
    help: 'Seconds that a call waited for a hash slot, by lane',
    labelNames: ['lane'] as const,
    buckets: [0.005, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10],
    registers
  })
  const shed = new Counter({
    name: 'auth_shed_total',
    help: 'Calls rejected because of overload, by reason',
    labelNames: ['reason'] as const,
    registers
  })
  const shedByClass = new Counter({
    name: 'auth_password_hash_shed_total',
    help: 'Calls that the hash queue rejected, by class: known devices and networks, networks with recent wrong passwords (failing) or rejected calls (shed), others (clean)',
    labelNames: ['class'] as const,
    registers
  })
  const startedByClass = new Counter({
    name: 'auth_password_hash_started_total',
    help: 'Calls that got a hash slot, by class: known devices and networks, networks with recent wrong passwords (failing) or rejected calls (shed), others (clean)',
    labelNames: ['class'] as const,
    registers
  })
  for (const each of callClasses) {
    shedByClass.inc({ class: each }, 0)
    startedByClass.inc({ class: each }, 0)
  }
  for (const lane of lanes) {
    queueLength.set({ lane }, 0)
    queueWait.zero({ lane })
  }
  for (const reason of ['hash_queue_full', 'hash_slow'] satisfies ShedReason[]) shed.inc({ reason }, 0)
  const hashQueue: HashQueueObserver = {
    onLength: (lane, waiting) => queueLength.set({ lane }, waiting),
    onStart(lane, waitedSeconds, callClass) {
      queueWait.observe({ lane }, waitedSeconds)
      startedByClass.inc({ class: callClass })
    },
    onShed(reason, flow) {
      shed.inc({ reason })
      shedByClass.inc({ class: flow.class })
    }
  }
  return {
    logins: resultCounter('auth_logins_total', 'Logins by result'),
    registrations: resultCounter('auth_registrations_total', 'Registrations by result'),
    passwordChanges: resultCounter('auth_password_changes_total', 'Changes of a password by result'),
    passwordResets: resultCounter('auth_password_resets_total', 'Resets of a password by result'),
    emailVerifications: resultCounter(
      'auth_email_verifications_total',
      'Uses of a token that verifies or changes an address, by result'
    ),
    emailRequests,
    hashQueue,
    guesses: guessMetrics(registry),
    emails: emailMetrics(registry),
    outboxPending: new Gauge({
      name: 'auth_outbox_pending',
      help: 'Outbox rows that are not done',
      registers
    }),
    outboxFailing: new Gauge({
      name: 'auth_outbox_failing',
      help: 'Outbox rows with three or more consecutive failed attempts',
      registers
    }),
    hashSeconds: new Histogram({
      name: 'auth_password_hash_seconds',
      help: 'Seconds of one computation of a password hash',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5],
      registers
    })
  }
}

/** The metrics of the gate on guesses. */
export function guessMetrics(registry: Registry): GuessObserver {
  const registers = [registry]
  const checked = new Counter({
    name: 'auth_guesses_checked_total',
    help: 'Passwords that were compared with the hash of an account or with a decoy, by the bound that they count for; correct ones included',
    labelNames: ['bound'] as const,
    registers
  })
  const refused = new Counter({
    name: 'auth_guesses_refused_total',
    help: 'Passwords that were not compared because of earlier wrong ones, by reason: five of the network, or the bounds of the account',
    labelNames: ['reason'] as const,
    registers
  })
  const bounds = new Counter({
    name: 'auth_guess_bounds_reached_total',
    help: 'Addresses that reached a bound of consecutive wrong passwords, by bound',
    labelNames: ['bound'] as const,
    registers
  })
  for (const reason of ['network', 'account'] satisfies RefusalReason[]) refused.inc({ reason }, 0)
  for (const bound of ['any', 'fresh', 'device'] satisfies GuessClass[]) {
    checked.inc({ bound }, 0)
    bounds.inc({ bound }, 0)
  }
  return {
    onAdmitted: (bound) => checked.inc({ bound }),
    onRefused: (reason) => refused.inc({ reason }),
    onBoundReached: (bound) => bounds.inc({ bound })
  }
}

export type EmailMetrics = ReturnType<typeof emailMetrics>

/** The metrics of the sender of emails. */
export function emailMetrics(registry: Registry) {
  const registers = [registry]
  const sent = new Counter({
    name: 'auth_emails_sent_total',
    help: 'Emails that the mail server accepted, by purpose',
    labelNames: ['purpose'] as const,
    registers
  })
  const failed = new Counter({
    name: 'auth_emails_failed_total',
    help: 'Failed attempts to send an email, by reason',
    labelNames: ['reason'] as const,
    registers
  })
  for (const purpose of emailPurposes) sent.inc({ purpose }, 0)
  for (const reason of failureKinds) failed.inc({ reason }, 0)
  return {
    onSent: (purpose: EmailPurpose) => sent.inc({ purpose }),
    onFailed: (reason: FailureKind) => failed.inc({ reason }),
    dead: new Counter({ name: 'auth_emails_dead_total', help: 'Emails that will never be sent', registers }),
    pending: new Gauge({ name: 'auth_emails_pending', help: 'Emails that are due and not sent', registers }),
    oldestSeconds: new Gauge({
      name: 'auth_emails_oldest_pending_seconds',
      help: 'Age of the oldest email that is due and not sent',
      registers
    })
  }
}

/**
 * Counts the result of `work`: `rejected` for an error that the client caused, `error` for one of the server.
 *
 * @param isRejected whether a result is a rejection that the response does not show
 */
export async function countResult<T>(
  counter: AccountMetrics['logins'],
  work: Promise<T>,
  isRejected: (result: T) => boolean = () => false
): Promise<T> {
  try {
    const result = await work
    counter.inc({ result: isRejected(result) ? 'rejected' : 'ok' })
    return result
  } catch (error) {
    const { code } = error instanceof ConnectError ? error : { code: Code.Internal }
    counter.inc({ result: errorMeaning(code).errorClass === 'client' ? 'rejected' : 'error' })
    throw error
  }
}
