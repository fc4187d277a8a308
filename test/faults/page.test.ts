/** The committed page says nothing else than the table of expectations. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { expectations } from './expectations.ts'
import { pagePath, readPage } from './page.ts'
import { probeNames } from './probes.ts'

t.test('each cell of the page is in the table, and each of the table is on the page', async (t) => {
  const cells = readPage(readFileSync(pagePath, 'utf8'))
  const keyOf = ({ target, fault, route }: { target: string; fault: string; route: string }) =>
    `${target}, ${fault}, ${route}`
  const wanted = new Map(
    expectations.flatMap(({ target, fault, atOnce, then }) =>
      probeNames.map((route) => [
        keyOf({ target, fault, route }),
        { first: (atOnce ?? then)[route], last: then[route] }
      ])
    )
  )
  t.same(cells.map(keyOf), [...wanted.keys()], 'the same cells')
  const wrong = cells.filter((cell) => {
    const { first, last } = wanted.get(keyOf(cell)) ?? {}
    const [atOnce, then = atOnce] = cell.statuses as [number, number?]
    return !first?.statuses.includes(atOnce) || !last?.statuses.includes(then as number)
  })
  t.same(wrong, [], '`make test-faults PAGE=1` writes the page anew')
})
