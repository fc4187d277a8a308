/** The names of all secrets: keys of the schemas, variables of Compose, files that `make run` keeps, and secrets in tables. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { keyPaths } from '#common/config/catalogue.ts'
import { noSecrets } from '#common/config/keys.ts'
import { forEachKey } from '#common/config/load.ts'
import { schema as gateway } from '../../gateway/config.ts'
import { schema as logSink } from '../../log-sink/config.ts'
import { schema as sessionSvc } from '../../session-svc/config.ts'
import { kafkaUsers } from '../../stack/engines/kafka-users.ts'
import { kafkaPasswordFile } from '../../stack/kafka-credentials.ts'
import { schema as userSvc } from '../../user-svc/config.ts'

const root = join(import.meta.dirname, '..', '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

/** The keys whose values contain a secret, without the files of private keys. */
export function secretKeys(): string[] {
  const paths = new Set<string>()
  for (const schema of [gateway, userSvc, sessionSvc, logSink]) {
    forEachKey(schema, (path, { sensitive, secrets }) => {
      if (sensitive && secrets !== noSecrets) paths.add(path)
    })
  }
  return [...paths].toSorted()
}

/** The keys of the files of private keys. */
export const privateKeys = (): string[] => keyPaths.filter((path) => path.endsWith('.tls.key'))

/** The variables of `.env` with a secret. */
export const composeVariables = (): string[] =>
  [
    ...read('ops/env.example').matchAll(/^#?([A-Z_]+(?:_PASSWORD|_TOKEN|_KEYS|_PEPPERS|_CALLERS|MAIL_URL)|MAIL_URL)=/gm)
  ].map(([, name]) => name as string)

/** The files of generated secrets in `.data`. */
export function keptFiles(): string[] {
  const sources = ['stack/*.ts', 'stack/engines/*.ts'].flatMap((pattern) => globSync(pattern, { cwd: root }))
  const names = sources.flatMap((file) => read(file).match(/(?<=')[a-z-]+-(?:password|token|key)(?=')/g) ?? [])
  return [...new Set([...names, ...kafkaUsers.map(kafkaPasswordFile)])].toSorted()
}

/** The tables with a column `secret`. */
export const secretTables = (): string[] =>
  [...read('user-svc/schema.ts').matchAll(/pgTable\('(\w+)', \{[^}]*\bsecret: /g)].map(([, name]) => name as string)
