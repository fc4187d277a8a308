/** The tables of REST routes in the documents name every route, with the statuses that its schema declares. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { routes } from './all-routes.ts'

/** The problems that the text beside a table may explain for all routes. */
const common = [400, 413, 415, 429, 503, 504]

for (const file of ['README.md', 'docs/reference/rest.md']) {
  const document = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
  /** The rows of the table by route, each with the statuses of its cells. */
  const rows = new Map(
    [...document.matchAll(/^\| `([A-Z]+ \/[^`\s]*)`(.*)\|$/gm)].map(([, route = '', cells = '']) => {
      return [route.replace(/\{(\w+)\}/g, ':$1'), [...cells.matchAll(/\b[1-5]\d\d\b/g)].map(Number)]
    })
  )

  t.test(`${file} lists every route once, and no other`, async (t) => {
    t.same([...rows.keys()].sort(), routes.map(({ name }) => name).sort())
  })

  for (const { name, success, problems } of routes) {
    t.test(`${file} lists the statuses of ${name}`, async (t) => {
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
}
