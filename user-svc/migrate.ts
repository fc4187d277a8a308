/** Migrates the database once and exits; for a job that runs before user-svc starts. */

import '#common/process/no-native-driver.ts'
import { ConfigError } from '#common/config/load.ts'
import { dropDriverVariables } from '#common/config/runtime-variables.ts'
import { createLogger } from '#common/logging/logger.ts'
import { loadMigration } from './config.ts'
import { migrateDatabase } from './migrations.ts'

const noSuchDatabase = '3D000'

try {
  const config = loadMigration()
  dropDriverVariables()
  const log = createLogger('user-svc', config.log.level)
  await migrateDatabase(config.userSvc.postgres, log).then(
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
  for (const line of error.message.split('\n')) console.error(`user-svc: ${line}`)
  process.exitCode = 1
}
