/** What production accepts in the configuration of user-svc, and warns about at start. */

import type { load } from './config.ts'

type Warned = Pick<ReturnType<typeof load>, 'userSvc' | 'kafka'>

/** The warnings; none outside production. */
export function productionWarnings(
  { userSvc, kafka }: Warned,
  environment: NodeJS.ProcessEnv = process.env
): { event: string; text: string }[] {
  if (environment.NODE_ENV !== 'production') return []
  const { password, bruteForce, eventKeys } = userSvc
  const warnings = [
    {
      event: 'short_passwords_accepted',
      isDue: password.minLength < 15,
      text: 'userSvc.password.minLength is below 15, as NIST SP 800-63B-4 requires'
    },
    {
      event: 'brute_force_off',
      isDue: !bruteForce.enabled,
      text: 'userSvc.bruteForce.enabled is false in production'
    },
    {
      event: 'device_keys_missing',
      isDue: bruteForce.enabled && bruteForce.deviceKeys.length === 0,
      text: 'userSvc.bruteForce.deviceKeys is empty: an attack on an account can lock its devices out'
    },
    {
      event: 'event_keys_missing',
      isDue: kafka.enabled && kafka.brokers.length > 0 && eventKeys.length === 0,
      text: 'userSvc.eventKeys is empty: account events are not signed'
    }
  ]
  return warnings.filter(({ isDue }) => isDue)
}
