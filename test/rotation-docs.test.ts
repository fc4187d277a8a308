/** docs/operate/rotate.md has the order of rotation of every secret, and docs/operate/secrets.md its holders. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { services, two } from './support/compose-file.ts'
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

t.test(
  'where a secret of Compose changes, rotate.md names the second instance of each service that has it',
  async (t) => {
    const doubled = services.filter(([name]) => `${name}-2` in two.services)
    t.ok(doubled.length > 0)
    const sections = new Map(rotate.split(/^## /m).map((text) => [text.split('\n', 1)[0] ?? '', text]))
    for (const [, row = '', title = ''] of rotate.matchAll(/^\| (.+) \| \[(.+)\]\(#.+\) \|$/gm)) {
      const section = sections.get(title) ?? ''
      const [, ofCompose] = section.split(/^With Compose/m)
      const variables = [...row.matchAll(/`([A-Z_]+)`/g)].map(([, variable]) => `\${${variable}:`)
      for (const [name, { environment }] of doubled) {
        const text = JSON.stringify(environment)
        if (!variables.some((variable) => text.includes(variable))) continue
        const isNamed = ofCompose?.includes(`${name}-2`) ?? new RegExp(`every ${name}|all services`).test(section)
        t.ok(isNamed, `${name}-2 under ${title}`)
      }
    }
  }
)

t.test('secrets.md names the holders of every secret of the schemas and of the tables', async (t) => {
  const current = secretKeys().filter((path) => !path.includes('.previous'))
  t.same(missing(page('secrets.md'), [...current, ...secretTables()]), [])
})
