/** The passwords of the users of Kafka, generated once and stored in the data directory. */

import { join } from 'node:path'
import type { Config } from './config.ts'
import type { KafkaAccess } from './engines/kafka.ts'
import { type KafkaPasswords, kafkaUsers } from './engines/kafka-users.ts'
import { accessRules, kafkaNames } from './kafka-access.ts'
import { keptSecret } from './secret-file.ts'

/** The file of a password; applications that read events use that of `consumer`. */
export const kafkaPasswordFile = (user: string) => (user === 'admin' ? 'kafka-password' : `kafka-${user}-password`)

/** The users and their rules. */
export function kafkaAccess(config: Pick<Config, 'kafka' | 'logSink'>, dataDir: string): KafkaAccess {
  const passwords = Object.fromEntries(
    kafkaUsers.map((user) => [user, keptSecret(join(dataDir, kafkaPasswordFile(user)))])
  ) as KafkaPasswords
  return { passwords, rules: accessRules(kafkaNames(config)) }
}
