/** The reference of the configuration, from the schemas of all services, and the catalogue of keys that services read. */

import { forEachKey, type Schema } from '#common/config/load.ts'
import { schema } from '../../stack/config.ts'

function table(section: string, keys: Schema): string {
  const rows: string[] = []
  forEachKey(
    keys,
    (path, { default: value, productionDefault, doc, accepts }) => {
      const written = value === '' ? 'none' : Array.isArray(value) ? `[${value}]` : String(value)
      const production = productionDefault === undefined ? '' : `, in production \`${productionDefault}\``
      rows.push(`| \`${path}\` | \`${written}\`${production} | ${doc} Takes ${accepts}. |`)
    },
    `${section}.`
  )
  return ['| key | default | meaning |', '|---|---|---|', ...rows].join('\n')
}

/** One table for each section of the configuration. */
export function configurationTables(): string {
  return Object.entries(schema)
    .map(([section, keys]) => `## \`${section}\`\n\n${table(section, keys)}`)
    .join('\n\n')
}

/** The paths of all keys and of the secrets among them, for each service to recognise the variables of the others. */
export function catalogue(): string {
  const paths: string[] = []
  const secrets: string[] = []
  forEachKey(schema, (path, { sensitive }) => {
    paths.push(path)
    if (sensitive) secrets.push(path)
  })
  const listOf = (name: string, entries: string[]) =>
    `export const ${name}: readonly string[] = [\n${entries.map((path) => `  '${path}'`).join(',\n')}\n]\n`
  return `/** The path of every key of every service, and of those that are secret; written by \`make generate\` from the schemas. */\n\n${listOf('keyPaths', paths)}\n${listOf('secretPaths', secrets)}`
}
