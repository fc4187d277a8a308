/** The fault matrix has a column for every route, and the committed page equals it. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { routes } from '../../gateway/test/all-routes.ts'
import { columns, probeNames } from './columns.ts'
import { expectations } from './expectations.ts'
import { pagePath, readPage } from './page.ts'

t.test('has a column for every route, and no other', async (t) => {
  const probed = new Set<string>(Object.values(columns).map(({ route }) => route))
  t.same([...probed].sort(), routes.map(({ name }) => name).sort(), 'add a column to test/faults/columns.ts')
})

t.test('is on the page, cell by cell', async (t) => {
  const cells = readPage(readFileSync(pagePath, 'utf8'))
  const keyOf = ({ target, fault, probe }: { target: string; fault: string; probe: string }) =>
    `${target}, ${fault}, ${probe}`
  const wanted = new Map(
    expectations.flatMap(({ target, fault, atOnce, detected }) =>
      probeNames.map((probe) => [
        keyOf({ target, fault, probe }),
        { first: (atOnce ?? detected)[probe], last: detected[probe] }
      ])
    )
  )
  t.same(cells.map(keyOf), [...wanted.keys()], 'the same cells; `make test-faults PAGE=1` writes the page anew')
  const wrong = cells.filter((cell) => {
    const { first, last } = wanted.get(keyOf(cell)) ?? {}
    const [atOnce, then = atOnce] = cell.statuses as [number, number?]
    return !first?.statuses.includes(atOnce) || !last?.statuses.includes(then as number)
  })
  t.same(wrong, [], '`make test-faults PAGE=1` writes the page anew')
})
