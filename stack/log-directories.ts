/** The folders of the logs. */

import { join } from 'node:path'
import type { Config } from './config.ts'
import { schema } from './config.ts'

/** The folders of the collected lines and of the spool: in the data directory, unless configured. */
export function logDirectories(config: Pick<Config, 'log' | 'logSink' | 'stack'>): {
  collected: string
  spool: string
} {
  const { dataDir } = config.stack
  const collected = config.logSink.directory
  const spool = config.log.spool.directory
  return {
    collected: collected === schema.logSink.directory.default ? join(dataDir, 'logs') : collected,
    spool: spool === schema.log.spool.directory.default ? join(dataDir, 'spool') : spool
  }
}
