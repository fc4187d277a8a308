/** The sections of the configuration that user-svc reads. */

import { resolve } from 'node:path'
import { requireAcceptedCallers, requirePresentedCredential } from '#common/config/caller-credentials.ts'
import { keyPaths } from '#common/config/catalogue.ts'
import { choice, duration, flag, host, integer, list, port, secretList, text } from '#common/config/keys.ts'
import { ConfigError, loadConfig, requireAddress, type Values } from '#common/config/load.ts'
import { mail, mailOptions } from '#common/config/mail-section.ts'
import { requireHiddenReflection, requireProduction } from '#common/config/production.ts'
import {
  kafka,
  listenKeys,
  log,
  requireDistinctTopics,
  requireStrongAdminToken,
  rpc,
  security,
  shutdown
} from '#common/config/shared-sections.ts'
import { requireTrustedCa } from '#common/config/tls-keys.ts'
import { url } from '#common/config/url-keys.ts'
import { makeWritable } from '#common/config/writable-directory.ts'
import { loadTemplates } from './mail/templates.ts'
import { requireBreachList } from './passwords/breach-list.ts'
import { postgresAddress, requireTlsInUrl } from './postgres-url.ts'

/** user-svc's own section. */
export const userSvc = {
  host: host('127.0.0.1', 'Address that the RPCs listen on.'),
  port: port(50051, 'Port of the RPCs.'),
  ...listenKeys(9465),
  postgres: {
    url: url(
      ['postgres', 'postgresql'],
      'Address of PostgreSQL, with user and password. Empty: `make run` starts one.',
      (_parts, written) => postgresAddress(written) !== undefined
    ),
    migrationUrl: url(
      ['postgres', 'postgresql'],
      'Address of PostgreSQL with the user that owns the tables, for migrations only; the user of `userSvc.postgres.url` then needs no right to change the schema. Empty: that user migrates.',
      (_parts, written) => postgresAddress(written) !== undefined
    ),
    maxConnections: integer(10, 'Connections of one process to PostgreSQL.', { min: 1, max: 1000 }),
    queryTimeout: duration('3s', 'Timeout of a statement.', { min: '50ms', max: '60s' }),
    migrate: flag(
      true,
      'Migrate the database to the newest schema at start. Turn it off where a separate job does that.'
    )
  },
  password: {
    cost: integer(
      12,
      'bcrypt cost: the binary logarithm of the number of rounds. Below 10 for tests only, rejected in production. Raise it rather than lower it: a hash is renewed only at the next login.',
      {
        min: 4,
        max: 14
      }
    ),
    maxCost: integer(
      14,
      'Highest accepted bcrypt cost of a stored hash, or work of an imported one that takes as long. A costlier hash is rejected by an import, and never computed. All failed checks cost as much as the costliest stored hash, so that no time shows which account has it: one imported hash of cost 14 makes failed logins of cost 12 take four times as long.',
      { min: 4, max: 16 }
    ),
    hashesAtATime: integer(
      0,
      'Concurrent hashes of one process. 0: one per core; set fewer if several processes share the cores.',
      { max: 1024 }
    ),
    minLength: integer(
      8,
      'Minimum length of a new password, in code points. 15 is recommended in production: NIST SP 800-63B-4 requires it where the password is the only factor (docs/security/passwords.md).',
      {
        min: 8,
        max: 64
      }
    ),
    serviceWords: list(
      'Names of the application, such as those of company and product. A new password that consists mostly of them, of the name of this product, or of the address is rejected.',
      'words of 3 or more characters',
      (word) => [...word].length >= 3
    ),
    breachList: {
      directory: text(
        '',
        'Directory with a list of breached passwords, as the downloader of Have I Been Pwned writes it: files `00000.txt` to `FFFFF.txt`. A new password on the list is rejected. Empty: none is used.',
        'the path of a directory'
      ),
      whenMissing: choice(
        ['refuse', 'accept'],
        'refuse',
        'Without the list or one of its files: `refuse` stops the start and answers new passwords with 503, `accept` accepts passwords that it cannot check. Both log a warning.'
      )
    },
    peppers: secretList(
      'Keys for the HMAC under the password hash, the newest first, each as `name:base64` of 32 bytes or more.'
    )
  },
  eventKeys: secretList(
    'Ed25519 keys that sign the events of accounts, the newest first, each as `name:base64` of 32 bytes. Empty: events are not signed. `make run` makes one, and writes the public keys to `event-keys.pub` in its data directory.'
  ),
  requireVerifiedEmail: flag(
    false,
    'A login needs a verified address: until then, a correct password is 403 `email-not-verified`. Registration still creates a session, unless `userSvc.registration.concealTaken` is set.'
  ),
  registration: {
    concealTaken: flag(
      false,
      'No response shows whether an address is taken: `POST /reg` answers 202 without a session in both cases, and the owner of a taken address gets an email, within the limits of emails; a disabled account gets none. A login of an account that is not verified is then 401. Needs `mail.url` and `userSvc.requireVerifiedEmail`. Turn it on when all gateways have this version.'
    )
  },
  bruteForce: {
    enabled: flag(
      true,
      'Bound the consecutive wrong passwords of an account: at most 100 are compared. If false, only `gateway.rateLimit` limits guesses.'
    ),
    deviceKeys: secretList(
      'Keys of the tokens of devices that have logged in, the newest first, each as `name:base64` of 32 bytes or more. Empty: no device gets a token, and an attack on an account can lock its devices out. `make run` generates one.'
    )
  }
}

/** The sections that user-svc reads. */
export const schema = { userSvc, rpc, kafka, mail, log, security, shutdown }

/** The configuration of user-svc, or a ConfigError; `mail` is undefined without `mail.url`. */
export function load() {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  requirePresentedCredential(config.rpc)
  requireAcceptedCallers(config.rpc)
  requireTrustedCa(config.rpc.tls)
  requireStrongAdminToken(config.rpc)
  requireDistinctTopics(config.kafka)
  requireAddress('userSvc.postgres.url', config.userSvc.postgres.url)
  requireTlsInUrl(config.userSvc.postgres.url, process.env)
  requireTlsInUrl(config.userSvc.postgres.migrationUrl, process.env)
  if (process.env.NODE_ENV === 'production' && config.userSvc.password.cost < 10) {
    throw new ConfigError(`userSvc.password.cost: got ${config.userSvc.password.cost}, production takes 10 to 14`)
  }
  const { cost, maxCost } = config.userSvc.password
  if (maxCost < cost) {
    throw new ConfigError(`userSvc.password.maxCost: got ${maxCost}, takes userSvc.password.cost (${cost}) or more`)
  }
  requireProduction(config, { schema, role: 'user-svc' })
  requireHiddenReflection(config.rpc.reflection, config.userSvc.host)
  requireBreachList(config.userSvc.password.breachList)
  const mail = mailOptions(config.mail)
  requireConcealable(config.userSvc, mail !== undefined)
  if (mail) {
    loadTemplates(mail.templates)
    if ('directory' in mail.target) makeWritable('mail.url', mail.target.directory, resolve(mail.target.directory))
  }
  return { ...config, mail }
}

/**
 * The configuration of the job that migrates. It connects to PostgreSQL only: with a migration URL, it needs no more than the
 * user name of `userSvc.postgres.url`.
 *
 * @throws {ConfigError}
 */
export function loadMigration() {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  const { url, migrationUrl } = config.userSvc.postgres
  requireAddress('userSvc.postgres.url', url)
  for (const each of [url, migrationUrl]) requireTlsInUrl(each, process.env)
  const { security, userSvc } = config
  const postgres = { ...userSvc.postgres, url: migrationUrl === '' ? url : '' }
  requireProduction({ security, userSvc: { ...userSvc, postgres } }, { schema })
  return config
}

/** @throws {ConfigError} if another response would reveal a taken address, or if its owner would get no email */
export function requireConcealable(
  { registration, requireVerifiedEmail }: Values<typeof schema>['userSvc'],
  sendsEmails: boolean
): void {
  if (!registration.concealTaken || (sendsEmails && requireVerifiedEmail)) return
  throw new ConfigError(
    'userSvc.registration.concealTaken: got true, needs mail.url and userSvc.requireVerifiedEmail: true'
  )
}
