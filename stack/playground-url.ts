/** The address of the playground on this machine. */

import type { Config } from './config.ts'
import { authority } from './services.ts'

const loopback = new Set(['127.0.0.1', '::1', '0.0.0.0', '::', 'localhost'])

/** `localhost`: browsers differ in the other http addresses from which they take the session cookie, which is `Secure`. */
export function playgroundUrl({ gateway: { host } }: Pick<Config, 'gateway'>, port: number | undefined): string {
  return `http://${authority(loopback.has(host) ? 'localhost' : host, port)}/playground`
}
