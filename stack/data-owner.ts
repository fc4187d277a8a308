/** Whether the data belong to the user who starts the stack: a start as root leaves files of other users. */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError } from '#common/config/load.ts'

// Containers own files below it.
const containers = 'docker'

/**
 * Root may use all data.
 *
 * @throws {ConfigError} that states how to take over the data of another user
 */
export function requireOwnData(dataDir: string, uid = process.getuid?.() ?? 0): void {
  if (uid === 0) return
  const paths = [dataDir, ...readdirSync(dataDir).map((name) => join(dataDir, name))]
  const foreign = paths.find((path) => path !== join(dataDir, containers) && statSync(path).uid !== uid)
  if (foreign === undefined) return
  throw new ConfigError(
    `stack.dataDir: ${foreign} belongs to another user, as after a start as root; run sudo chown -R "$(id -un)" ${dataDir}`
  )
}
