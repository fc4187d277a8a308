/** The section of the configuration for `make run`, and the whole configuration, for `make run` and the reference. */

import { directory, port } from '#common/config/keys.ts'
import type { Values } from '#common/config/load.ts'
import { mail } from '#common/config/mail-section.ts'
import { kafka, log, redis, rpc, security, shutdown } from '#common/config/shared-sections.ts'
import { gateway } from '../gateway/config.ts'
import { logSink } from '../log-sink/config.ts'
import { session, sessionSvc } from '../session-svc/config.ts'
import { userSvc } from '../user-svc/config.ts'

/** The ports and the data of the engines that `make run` starts. */
export const stack = {
  dataDir: directory(
    '.data',
    'Directory of the data, the collected logs, the emails and the generated credentials, relative to the project.'
  ),
  postgresPort: port(15432, 'Port of the PostgreSQL that `make run` starts.'),
  redisPort: port(16379, 'Port of the Redis that `make run` starts.'),
  kafkaPort: port(19092, 'Port of the Kafka broker that `make run` starts.')
}

/** All sections and keys. */
export const schema = {
  gateway,
  userSvc,
  sessionSvc,
  session,
  logSink,
  rpc,
  redis,
  kafka,
  mail,
  log,
  security,
  shutdown,
  stack
}

/** The whole configuration. */
export type Config = Values<typeof schema>
