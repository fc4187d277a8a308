/** The metrics of user-svc; every series starts at zero. */

import { Code, ConnectError } from '@connectrpc/connect'
import { Counter, Gauge, Histogram, type Registry } from '@prometheus-io/client'
import { errorMeaning } from '#common/errors/codes.ts'
import { type HashQueueEvents, lanes, type ShedReason } from './hash-queue.ts'

export type AccountMetrics = ReturnType<typeof accountMetrics>

export function accountMetrics(registry: Registry) {
  const registers = [registry]
  const labelNames = ['result'] as const
  const logins = new Counter({ name: 'auth_logins_total', help: 'Log-ins, by result', labelNames, registers })
  const registrations = new Counter({
    name: 'auth_registrations_total',
    help: 'Registrations, by result',
    labelNames,
    registers
  })
  for (const result of ['ok', 'rejected', 'error']) {
    logins.inc({ result }, 0)
    registrations.inc({ result }, 0)
  }
  const queueLength = new Gauge({
    name: 'auth_password_hash_queue_length',
    help: 'Calls that wait for their turn to have a password hashed, by lane',
    labelNames: ['lane'] as const,
    registers
  })
  const queueWait = new Histogram({
    name: 'auth_password_hash_wait_seconds',
    help: 'Time until a password was hashed, by lane',
    labelNames: ['lane'] as const,
    buckets: [0.005, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 10],
    registers
  })
  const shed = new Counter({
    name: 'auth_shed_total',
    help: 'Calls refused because they could not be served in time, by reason',
    labelNames: ['reason'] as const,
    registers
  })
  for (const lane of lanes) {
    queueLength.set({ lane }, 0)
    queueWait.zero({ lane })
  }
  for (const reason of ['hash_queue_full', 'hash_slow'] satisfies ShedReason[]) shed.inc({ reason }, 0)
  const hashQueue: HashQueueEvents = {
    length: (lane, waiting) => queueLength.set({ lane }, waiting),
    waited: (lane, seconds) => queueWait.observe({ lane }, seconds),
    shed: (reason) => shed.inc({ reason })
  }
  return {
    logins,
    registrations,
    hashQueue,
    outboxPending: new Gauge({
      name: 'auth_outbox_pending',
      help: 'Deletions of accounts of which something is still to be done',
      registers
    }),
    outboxFailing: new Gauge({
      name: 'auth_outbox_failing',
      help: 'Deletions of accounts whose last three attempts or more to finish them failed',
      registers
    }),
    hashSeconds: new Histogram({
      name: 'auth_password_hash_seconds',
      help: 'Time of one bcrypt computation, in its thread',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5],
      registers
    })
  }
}

/** Counts how `work` ends: the label `rejected` is the client's doing, `error` is the server's. */
export async function countResult<T>(counter: AccountMetrics['logins'], work: Promise<T>): Promise<T> {
  try {
    const result = await work
    counter.inc({ result: 'ok' })
    return result
  } catch (error) {
    const { code } = error instanceof ConnectError ? error : { code: Code.Internal }
    counter.inc({ result: errorMeaning(code).errorClass === 'client' ? 'rejected' : 'error' })
    throw error
  }
}
