/** The gateway's sections of the configuration. */

import { isIP } from 'node:net'
import { loadConfig } from '#common/config.ts'
import { duration, flag, integer, list, port, text } from '#common/config-keys.ts'
import {
  kafka,
  listenKeys,
  log,
  redis,
  requireRedis,
  requireStrongRpcToken,
  rpc,
  shutdown
} from '#common/config-sections.ts'

const budget = (value: string, routes: string) =>
  duration(value, `Time that ${routes} may take in all, calls to other services included.`, { min: '50ms', max: '60s' })

/** The gateway's own section. */
export const gateway = {
  host: text('127.0.0.1', 'Address that the REST routes listen on.'),
  port: port(8080, 'Port of the REST routes.'),
  ...listenKeys(9464),
  trustedProxies: list(
    [],
    'Peers whose `X-Forwarded-For` is believed. Empty: nobody is, and the client is the peer.',
    'networks in CIDR notation, such as 10.0.0.0/8',
    isCidr
  ),
  budgets: {
    session: budget('1s', '`GET /session`'),
    logout: budget('3s', '`DELETE /logout`'),
    delete: budget('3s', '`DELETE /delete`'),
    reg: budget('5s', '`POST /reg`'),
    auth: budget('5s', '`POST /auth`')
  },
  reauthenticationWindow: duration(
    '15m',
    'How old a session may be that deletes its account; an older one must log in again.',
    {
      min: '1s'
    }
  ),
  rateLimit: {
    enabled: flag(true, 'Limit requests by client address (IPv4 address, IPv6 /64 network).'),
    window: duration('1m', 'The window that the limits count in.', { min: '1s', max: '1d' }),
    max: integer(600, 'Requests that a client may make in a window to all other routes.', { min: 1 }),
    credentialsMax: integer(30, 'Requests that a client may make to `/reg` and `/auth` in a window.', { min: 1 }),
    sessionMax: integer(
      0,
      'Requests that a client may make to `GET /session` in a window. 0: no limit, since applications ask it for each request of theirs.'
    )
  },
  docs: flag(true, 'Serve the OpenAPI description at `/openapi.json` and Swagger UI at `/docs`.')
}

/** Everything that the gateway reads. */
export const schema = { gateway, rpc, redis, kafka, log, shutdown }

/** The configuration of the gateway, or a ConfigError. */
export function load() {
  const config = loadConfig(schema)
  requireStrongRpcToken(config.rpc)
  requireRedis(config.redis)
  return config
}

function isCidr(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0 || !/^\d{1,3}$/.test(bits)) return false
  // A prefix of no bits is "all", which is never meant.
  return Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)
}
