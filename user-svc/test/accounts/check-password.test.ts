/** The result of a check of a password for the network of its client. */

import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { silentLog } from '#common/testing/service.ts'
import { checkPassword, comparePassword } from '../../accounts/check-password.ts'
import { openGate } from '../../brute-force/guess-gate.ts'
import { NetworkHistory } from '../../brute-force/network-history.ts'
import { HashQueue } from '../../passwords/hash-queue.ts'
import { PasswordHashes } from '../../passwords/password-hashes.ts'
import { rejection } from './account-tests.ts'

const network = '192.0.2.1'

/** The parts of a check, and a call whose client disconnects in the middle of the hash, or before it. */
function parts(disconnects?: 'before the hash' | 'during the hash') {
  const client = new AbortController()
  const observer = {
    onLength() {},
    onShed() {},
    onStart() {
      if (disconnects === 'during the hash') void setImmediate().then(() => client.abort())
    }
  }
  if (disconnects === 'before the hash') client.abort()
  const call = { signal: client.signal, caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log: silentLog }
  // Cost 9: 30 ms, longer than a disconnection takes.
  const passwords = new PasswordHashes({ cost: 9, peppers: [] }, () => {})
  return { call, passwords, hashQueue: new HashQueue(1, 30, observer), networks: new NetworkHistory() }
}

async function guessOf(call: ReturnType<typeof parts>['call'], passwordHash?: string) {
  const user = passwordHash === undefined ? undefined : { id: 'a', passwordHash }
  return openGate.reserve({ email: 'a@example.org', user, userId: undefined, network, device: undefined }, call)
}

t.test('a client that disconnects during the hash has failed, and before it has not', async (t) => {
  const during = parts('during the hash')
  await rejection(checkPassword(during, await guessOf(during.call), 'wrong', during.call))
  t.equal(during.networks.classOf(network), 'failing')
  const before = parts('before the hash')
  await rejection(checkPassword(before, await guessOf(before.call), 'wrong', before.call))
  t.equal(before.networks.classOf(network), 'clean')
})

t.test('a stored hash that cannot be used is no failure of the network', async (t) => {
  const { call, ...others } = parts()
  await rejection(checkPassword(others, await guessOf(call, 'damaged'), 'wrong', call))
  t.equal(others.networks.classOf(network), 'clean')
})

t.test('the comparison of a reset is no failure of the network', async (t) => {
  const { call, ...others } = parts()
  t.notOk((await comparePassword(others, await guessOf(call), 'wrong', call)).matches)
  t.equal(others.networks.classOf(network), 'clean')
})
