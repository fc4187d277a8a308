/** The address of the playground on this machine. */

import type { Config } from './config.ts'
import { authority, httpScheme } from './services.ts'

const loopback = new Set(['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost'])

/** `localhost`: browsers differ in the other http addresses from which they take the session cookie, which is `Secure`. */
export function playgroundUrl({ gateway }: Pick<Config, 'gateway'>, port: number | undefined): string {
  const { host, tls } = gateway
  return `${httpScheme(tls)}://${authority(loopback.has(host) ? 'localhost' : host, port)}/playground`
}
