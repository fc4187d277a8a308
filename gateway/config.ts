/** The gateway's sections of the configuration. */

import { requirePresentedCredential } from '#common/config/caller-credentials.ts'
import { keyPaths } from '#common/config/catalogue.ts'
import { duration, flag, host, integer, list, port } from '#common/config/keys.ts'
import { ConfigError, loadConfig, type Values } from '#common/config/load.ts'
import { mail, mailDirectory } from '#common/config/mail-section.ts'
import { requireProduction } from '#common/config/production.ts'
import {
  kafka,
  listenKeys,
  log,
  redis,
  requireDistinctTopics,
  requireRedis,
  rpc,
  security,
  shutdown
} from '#common/config/shared-sections.ts'
import { gatewayTls } from '#common/config/tls-keys.ts'
import { isLoopbackHost } from './loopback.ts'
import { isOrigin } from './plugins/origins.ts'
import { isProxyNetwork, requireFewProxies } from './trusted-proxies.ts'

const budget = (value: string, routes: string) =>
  duration(value, `Time budget of ${routes}, calls to other services included.`, { min: '50ms', max: '60s' })

/** The gateway's own section. */
export const gateway = {
  host: host('127.0.0.1', 'Address that the REST routes listen on.'),
  port: port(8080, 'Port of the REST routes.'),
  tls: gatewayTls,
  ...listenKeys(9464),
  trustedProxies: list(
    'Networks of proxies: only from them is `X-Forwarded-For` used. Empty: the client is always the peer.',
    'networks in CIDR notation, such as 10.0.0.0/8',
    isProxyNetwork
  ),
  keepAliveTimeout: duration(
    '75s',
    'Time for which an idle connection stays open. Set it longer than the load balancer before the gateway reuses one.',
    { min: '1s', max: '1h' }
  ),
  connections: {
    max: integer(
      10_000,
      'Maximum number of open connections; then those of the IPv4 addresses and IPv6 /48 networks with the most end, idle ones first. Lowered to the limit of file descriptors minus 192, which ops port, engines and log need.',
      { min: 16, max: 1_000_000 }
    ),
    maxPerNetwork: integer(
      500,
      'Maximum number of open connections of one IPv4 address or IPv6 /64 network. Peers in `gateway.trustedProxies` are exempt.',
      { min: 1, max: 1_000_000 }
    ),
    maxPipelined: integer(32, 'Maximum number of pipelined requests of one HTTP/1.1 connection.', {
      min: 1,
      max: 10_000
    }),
    maxStreams: integer(100, 'Maximum number of requests in progress of one HTTP/2 connection.', {
      min: 1,
      max: 10_000
    }),
    receiveTimeout: duration(
      '10s',
      'Time for the header of a request to arrive, and for the whole request; then the answer is 408. Checked every second.',
      { min: '1s', max: '10m' }
    ),
    unreadTimeout: duration(
      '30s',
      'Time for a client to read a response; then its connection is closed, or with HTTP/2 its stream is reset.',
      {
        min: '1s',
        max: '10m'
      }
    )
  },
  budgets: {
    session: budget('1s', '`GET /session`'),
    logout: budget('3s', '`DELETE /logout`'),
    delete: budget('3s', '`DELETE /delete`'),
    reg: budget('5s', '`POST /reg`'),
    auth: budget('5s', '`POST /auth`'),
    account: budget('3s', 'the other routes of accounts, email addresses and lists of sessions'),
    password: budget(
      '5s',
      'the other routes that hash a password: `PUT /password`, `PUT /password/reset`, `PUT /email`'
    )
  },
  origins: list(
    'Origins whose pages may call the gateway with credentials (CORS), and may send state-changing requests with the session cookie. Empty: the own origin only.',
    'origins as browsers send them, such as https://app.example.org or http://localhost:3000: lower case, without path, wildcard and default port',
    isOrigin
  ),
  reauthenticationWindow: duration(
    '15m',
    'Maximum age of a session that deletes its account; with an older one, the user must log in again.',
    {
      min: '1s'
    }
  ),
  rateLimit: {
    enabled: flag(true, 'Limit requests by client address (IPv4 address, IPv6 /64 network).'),
    window: duration('1m', 'The window of the limits, which hold in every interval of this length.', {
      min: '1s',
      max: '1d'
    }),
    max: integer(
      600,
      'Maximum number of requests of a client in a window, on all routes but `GET /session`; malformed ones count too.',
      { min: 1 }
    ),
    credentialsMax: integer(
      30,
      'Maximum number of valid requests of a client to the routes that check or set a password, except `POST /reg`, in a window. Four successes of `POST /auth` or `PUT /password` count as one.',
      { min: 1 }
    ),
    registrationsMax: integer(30, 'Maximum number of valid requests of a client to `POST /reg` in a window.', {
      min: 1
    }),
    emailsMax: integer(
      30,
      'Maximum number of valid requests of a client to `POST /password/reset` and `POST /email/verification` in a window.',
      { min: 1 }
    ),
    sessionMax: integer(
      0,
      'Maximum number of requests of a client to `GET /session` in a window. 0: no limit, since applications call it once per request of their own.'
    )
  },
  docs: flag(
    true,
    'Serve the OpenAPI description at `/openapi.json`, Swagger UI at `/docs`, and a page to try the product at `/playground`. Off in production unless set.',
    { production: false }
  )
}

/** The sections that the gateway reads. */
export const schema = { gateway, rpc, redis, kafka, mail, log, security, shutdown }

/** The configuration of the gateway, or a ConfigError. */
export function load() {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  requirePresentedCredential(config.rpc)
  requireDistinctTopics(config.kafka)
  requireRedis(config.redis)
  // The gateway reads the directory of emails only.
  const { mail: _mail, ...connections } = config
  requireProduction(connections, { schema, role: 'gateway' })
  requirePrivatePages(config.gateway)
  requireFewProxies(config.gateway.trustedProxies)
  return config
}

/**
 * The directory of the emails that the playground shows. The emails contain tokens, so there is one only outside production,
 * on a loopback address, without a proxy before the gateway.
 */
export function shownMailDirectory(
  { gateway, mail }: Pick<Values<typeof schema>, 'gateway' | 'mail'>,
  environment = process.env
): string | undefined {
  return isPrivate(gateway) && environment.NODE_ENV !== 'production' ? mailDirectory(mail.url) : undefined
}

/** Whether only this machine reaches the gateway: an address of the machine, and no proxy before it. */
function isPrivate({ host, trustedProxies }: Pick<Values<typeof gateway>, 'host' | 'trustedProxies'>): boolean {
  return isLoopbackHost(host) && trustedProxies.length === 0
}

/** @throws {ConfigError} in production, if pages for development are on an address that other machines reach */
function requirePrivatePages(section: Values<typeof gateway>): void {
  if (process.env.NODE_ENV !== 'production' || !section.docs || isPrivate(section)) return
  throw new ConfigError(
    `gateway.docs: got true beside gateway.host ${section.host}, production takes it on a loopback address without gateway.trustedProxies only (GATEWAY_DOCS)`
  )
}
