/** What `make run` requires of the configuration before anything starts: the conditions under which its services would not start. */

import { requireCallers } from '#common/config/caller-credentials.ts'
import { requireProduction } from '#common/config/production.ts'
import { requireConcealable } from '../user-svc/config.ts'
import { requireTlsInUrl } from '../user-svc/postgres-url.ts'
import { type Config, schema } from './config.ts'
import { mailUrl, requireMail } from './mail-settings.ts'

/** @throws {ConfigError} with lines that name the keys */
export function requireStartable(config: Config, environment = process.env): void {
  const { url, migrationUrl } = config.userSvc.postgres
  for (const each of [url, migrationUrl]) requireTlsInUrl(each, environment)
  requireProductionSecrets(config, environment)
  requireMail(config, environment)
  requireConcealable(config.userSvc, mailUrl(config, environment) !== '')
  requireCallers(config.rpc, environment)
}

/** Compares the secrets of user-svc with the URL of the owner of the tables, which user-svc does not get. */
function requireProductionSecrets(
  { security, userSvc, rpc, mail, kafka }: Config,
  environment: NodeJS.ProcessEnv
): void {
  // Each service checks its own connection to Kafka: `make run` may start the broker later.
  const secrets = { security, userSvc, rpc, mail, kafka: { ...kafka, enabled: false } }
  requireProduction(secrets, { schema, environment })
}
