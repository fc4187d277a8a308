import t from 'tap'
import { collectGarbage } from '#common/process/start-garbage.ts'

t.test('pages of garbage go back to the system', async (t) => {
  let garbage: object[] | undefined = Array.from({ length: 500_000 }, (_, index) => ({ index }))
  const before = process.memoryUsage().heapTotal
  t.equal(garbage.length, 500_000)
  garbage = undefined
  await collectGarbage()
  const freed = before - process.memoryUsage().heapTotal
  t.ok(freed > 10_000_000, `${freed} bytes`)
})
