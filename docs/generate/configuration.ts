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

/** The paths of all keys, for each service to recognise the keys of the others. */
export function catalogue(): string {
  const paths: string[] = []
  forEachKey(schema, (path) => paths.push(path))
  const lines = paths.map((path) => `  '${path}'`).join(',\n')
  return `/** The path of every key of every service; written by \`make generate\` from the schemas. */\n\nexport const keyPaths: readonly string[] = [\n${lines}\n]\n`
}
