/** The matrix of one target as a test. */

import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import type { Target } from './laboratory.ts'
import { runMatrix } from './matrix.ts'

const withinMs = 600_000

export function testMatrix(target: Target): void {
  t.setTimeout(withinMs)
  t.test(`${target}: every fault has a known answer, and nothing is lost`, async (t) => {
    t.setTimeout(withinMs)
    const { complaints, requests } = await runMatrix(target, t, t.comment.bind(t), engineAddress('TEST_KAFKA_BROKERS'))
    t.comment(`${requests} requests`)
    t.same(complaints, [])
  })
}
