/** The secrets of a configuration, found by its schema: a new secret takes part in every check of production. */

import type { SecretsOf } from './keys.ts'
import { forEachKey, type Schema } from './load.ts'

/** One value of a sensitive key that is set. */
interface SensitiveValue {
  path: string
  kind: SecretsOf['kind']
  value: unknown
  /** The secrets in it. */
  secrets: string[]
}

/** The values of the sensitive keys, in the order of the schema. Sections that `config` lacks are skipped. */
export function sensitiveValues(schema: Schema, config: object): SensitiveValue[] {
  const found: SensitiveValue[] = []
  forEachKey(schema, (path, { sensitive, secrets }) => {
    const value = valueAt(config, path)
    if (!sensitive || value === undefined) return
    if (secrets === undefined) throw new TypeError(`${path}: the key does not name its secrets`)
    found.push({ path, kind: secrets.kind, value, secrets: secrets.in(value) })
  })
  return found
}

function valueAt(config: object, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((section, name) => (section as Record<string, unknown> | undefined)?.[name], config)
}
