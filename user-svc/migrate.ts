/** Migrates the database once and exits; for a job that runs before user-svc starts. */

import '#common/process/no-native-driver.ts'
import { keyPaths } from '#common/config/catalogue.ts'
import { ConfigError, loadConfig, requireAddress } from '#common/config/load.ts'
import { dropDriverVariables } from '#common/config/runtime-variables.ts'
import { createLogger } from '#common/logging/logger.ts'
import { schema } from './config.ts'
import { migrateDatabase } from './migrations.ts'
import { requireTlsInUrl } from './postgres-url.ts'

const noSuchDatabase = '3D000'

try {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  const { url, migrationUrl } = config.userSvc.postgres
  requireAddress('userSvc.postgres.url', url)
  for (const each of [url, migrationUrl]) requireTlsInUrl(each, process.env)
  dropDriverVariables()
  const log = createLogger('user-svc', config.log.level)
  await migrateDatabase({ url, migrationUrl }, log).then(
    () => log.info({ event: 'database_migrated' }, 'migrated the database to the newest schema'),
    (error) => {
      const reason = error.code === noSuchDatabase ? 'the database that the URL names does not exist' : undefined
      log.error(
        { event: 'database_migration_failed', ...(reason && { reason }), err: error },
        'failed to migrate the database'
      )
      process.exitCode = 1
    }
  )
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(`user-svc: ${error.message}`)
  process.exitCode = 1
}
