/** The sections of the configuration that log-sink reads. */

import { loadConfig } from '#common/config.ts'
import { kafka, listenKeys, log, shutdown } from '#common/config-sections.ts'

/** log-sink's own section. */
export const logSink = {
  ...listenKeys(9467)
}

/** Everything that log-sink reads. */
export const schema = { logSink, kafka, log, shutdown }

/** The configuration of log-sink, or a ConfigError. */
export const load = () => loadConfig(schema)
