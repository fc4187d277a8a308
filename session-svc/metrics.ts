/** The metrics of session-svc; every series starts at zero. */

import { Counter, Histogram, type Registry } from '@prometheus-io/client'

export type SessionMetrics = ReturnType<typeof sessionMetrics>

export function sessionMetrics(registry: Registry) {
  const registers = [registry]
  const validations = new Counter({
    name: 'auth_session_validations_total',
    help: 'Validated tokens by result: valid, invalid, or unknown',
    labelNames: ['result'] as const,
    registers
  })
  for (const result of ['valid', 'invalid', 'unknown'] as const) validations.inc({ result }, 0)
  return {
    validations,
    created: new Counter({ name: 'auth_sessions_created_total', help: 'Sessions created', registers }),
    batchSize: new Histogram({
      name: 'auth_validation_batch_size',
      help: 'Tokens per call of ValidateSessions',
      buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256],
      registers
    })
  }
}
