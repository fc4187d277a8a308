/** Warns of a listener that other machines reach while the checks of production are off. */

import { isLoopback } from '#common/config/connections.ts'
import type { Logger } from '#common/logging/logger.ts'

/** @param path of the key that has the host */
export function warnOutsideProduction(path: string, host: string, log: Logger, environment = process.env): void {
  if (environment.NODE_ENV === 'production' || isLoopback(host)) return
  log.warn(
    { event: 'not_in_production' },
    `${path} is no loopback address, and NODE_ENV is not production: weak secrets and plaintext connections are accepted`
  )
}
