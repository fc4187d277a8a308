/** The table of REST routes in the documentation names every route, with the statuses that its schema declares. */

import { existsSync, readFileSync } from 'node:fs'
import t from 'tap'
import { routes } from './all-routes.ts'

const root = new URL('../../', import.meta.url)
const reference = new URL('docs/reference/rest.md', root)
const document = readFileSync(existsSync(reference) ? reference : new URL('README.md', root), 'utf8')

/** The rows of the table by route, each with the statuses of its cells. */
const rows = new Map(
  [...document.matchAll(/^\| `([A-Z]+ \/[^`\s]*)`(.*)\|$/gm)].map(([, route = '', cells = '']) => {
    return [route.replace(/\{(\w+)\}/g, ':$1'), [...cells.matchAll(/\b[1-5]\d\d\b/g)].map(Number)]
  })
)
/** The problems that the text beside the table may explain for all routes. */
const common = [400, 413, 415, 429, 503, 504]

t.test('lists every route once, and no other', async (t) => {
  t.same([...rows.keys()].sort(), routes.map(({ name }) => name).sort())
})

for (const { name, success, problems } of routes) {
  t.test(`lists the statuses of ${name}`, async (t) => {
    const listed = rows.get(name) ?? []
    const declared = [success, ...problems]
    t.same(
      listed.filter((status) => !declared.includes(status)),
      [],
      'declared by the schema'
    )
    t.same(
      declared.filter((status) => !listed.includes(status) && !common.includes(status)),
      [],
      'listed in the table'
    )
  })
}
