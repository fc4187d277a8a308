/** docs/operate/rotate.md has the order of rotation of every secret, and docs/operate/secrets.md its holders. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { composeVariables, keptFiles, privateKeys, secretKeys, secretTables } from './support/secret-names.ts'

const page = (name: string) => readFileSync(join(import.meta.dirname, '..', 'docs', 'operate', name), 'utf8')
const missing = (text: string, names: string[]) => names.filter((name) => !text.includes(`\`${name}\``))
const rotate = page('rotate.md')

t.test('rotate.md has an order for every secret', async (t) => {
  const lists = {
    keys: secretKeys(),
    'private keys': privateKeys(),
    variables: composeVariables(),
    files: keptFiles(),
    tables: secretTables()
  }
  for (const [what, names] of Object.entries(lists)) {
    t.ok(names.length > 0, what)
    t.same(missing(rotate, names), [], `${what}, ${names.length} of them`)
  }
})

t.test('secrets.md names the holders of every secret of the schemas and of the tables', async (t) => {
  const current = secretKeys().filter((path) => !path.includes('.previous'))
  t.same(missing(page('secrets.md'), [...current, ...secretTables()]), [])
})
