/**
 * The response times of failed logins, in the short form: the hash dominates, and a missing decoy would show. `make test-security PARTS=timing,hash-timing`
 * measures all routes and finds differences of 2 %.
 */

import t from 'tap'
import { startTimedProduct, withoutDecoys } from './security/timing/accounts.ts'
import { costGroup, shortGroup } from './security/timing/groups.ts'
import { type Comparison, describe, type Group, sampleGroup } from './security/timing/sampling.ts'

// A hash takes more than half of the response time.
const cost = 8
const product = await startTimedProduct(t, { cost, accounts: 200 })

/**
 * Whether two kinds differ as if a decoy was missing: then by 55 %, and 0.00–0.04. Over five runs beside other tests on both cores, equal
 * kinds were within 21 % and 0.39–0.60.
 */
const isDecoyMissing = ({ difference, area }: Comparison) => Math.abs(difference) > 0.2 && (area < 0.3 || area > 0.7)

const sample = (group: Group, count: number) => sampleGroup(group, { count, warmUp: 5, port: product.port })

t.test('a login fails after the same time, whatever the reason', async (t) => {
  for (const comparison of await sample(shortGroup(), 40)) {
    t.notOk(isDecoyMissing(comparison), `${comparison.kind}: ${describe(comparison)}`)
  }
})

t.test('without the decoy, a wrong password is separable from an unknown address', async (t) => {
  await product.restartUserSvc(withoutDecoys('hashes'))
  const [comparison] = await sample(costGroup(), 20)
  t.match(comparison, { kind: 'wrong password', against: 'unknown address' })
  t.ok(comparison && isDecoyMissing(comparison), comparison ? describe(comparison) : '')
})
