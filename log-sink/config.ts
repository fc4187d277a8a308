/** The configuration of log-sink. */

import { join } from 'node:path'
import { keyPaths } from '#common/config/catalogue.ts'
import { directory, duration, integer, text } from '#common/config/keys.ts'
import { loadConfig } from '#common/config/load.ts'
import { requireProduction } from '#common/config/production.ts'
import { kafka, listenKeys, log, requireDistinctTopics, security, shutdown } from '#common/config/shared-sections.ts'
import { makeWritable } from '#common/config/writable-directory.ts'

/** log-sink's own section. */
export const logSink = {
  ...listenKeys(9467),
  directory: directory('.data/logs', 'Directory of the collected logs. Each sink creates a folder of its own there.'),
  name: text(
    'sink',
    'Name of the sink and of its folder. Sinks that share the work need different names; a restarted sink needs its old name.',
    'a name of 1 to 64 of a-z A-Z 0-9 . _ -',
    /^\w[\w.-]{0,63}$/
  ),
  group: text('log-sink', 'Consumer group of the sinks that share the work.', 'a text', /^[\w.-]{1,249}$/),
  rotate: {
    bytes: integer(64 * 2 ** 20, 'Size at which a file of collected lines is closed and compressed, in bytes.', {
      min: 2 ** 16,
      max: 2 ** 40
    }),
    age: duration('1d', 'Age at which a file of collected lines is closed and compressed.', { min: '1s' })
  },
  maxBytes: integer(
    10 * 2 ** 30,
    'Maximum size of all files of this sink, in bytes. Beyond it, the oldest are removed.',
    { min: 2 ** 20, max: 2 ** 50 }
  )
}

/** All sections that log-sink reads. */
export const schema = { logSink, kafka, log, security, shutdown }

/** Loads the configuration. @throws {ConfigError} */
export function load() {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  requireDistinctTopics(config.kafka)
  requireProduction(config, { schema })
  const { directory: collected, name } = config.logSink
  makeWritable('logSink.directory', collected, join(collected, name))
  return config
}
