/** A network whose calls the hash queue has shed loses the share of an untried one. */

import t from 'tap'
import { newAddress, password, startAccountTests } from '../accounts/account-tests.ts'

// The first hash ends after the last call of the burst has been decided.
const { client, registry } = await startAccountTests(t, { hashing: { cost: 13, hashesAtATime: 1 } })

t.test('after a shed call, the calls of its network have the class `shed`', async (t) => {
  const burst = Array.from({ length: 40 }, () =>
    client.authenticateAndLogin(
      { email: newAddress(), password, client: { network: '192.0.2.1' } },
      { timeoutMs: 1500 }
    )
  )
  await Promise.allSettled(burst)
  const text = await registry.getSingleMetricAsString('auth_password_hash_shed_total')
  const shed = (name: string) => Number(new RegExp(`class="${name}"\\} (\\d+)`).exec(text)?.[1])
  t.ok(shed('clean') > 0, 'before the first shed call')
  t.ok(shed('shed') > 0, 'after it')
})
