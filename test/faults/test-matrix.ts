/** Tests the fault matrix of one target. */

import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { runMatrix } from './matrix.ts'
import type { Target } from './targets.ts'

const timeoutMs = 600_000

export function testMatrix(target: Target): void {
  t.setTimeout(timeoutMs)
  t.test(`${target}: the responses under every fault are in the matrix, and every invariant holds`, async (t) => {
    t.setTimeout(timeoutMs)
    const { violations, requests } = await runMatrix(target, t, t.comment.bind(t), engineAddress('TEST_KAFKA_BROKERS'))
    t.comment(`${requests} requests`)
    t.same(violations, [])
  })
}
