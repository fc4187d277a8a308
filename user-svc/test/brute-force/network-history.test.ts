/** The class of a network by its recent outcomes, in bounded memory. Only `advance` moves the clock. */

import t from 'tap'
import { fairNetworkOf } from '#common/network/addresses.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { NetworkHistory } from '../../brute-force/network-history.ts'

const minuteMs = 60_000

t.test('a failure outweighs successes for ten minutes, a success counts for an hour', async (t) => {
  const clock = createTestClock()
  const history = new NetworkHistory(clock)
  t.equal(history.classOf('a'), 'clean')
  history.record('a', true)
  t.equal(history.classOf('a'), 'known')
  history.record('a', false)
  history.record('a', true)
  t.equal(history.classOf('a'), 'failing')
  await clock.advance(10 * minuteMs)
  t.equal(history.classOf('a'), 'known')
  await clock.advance(50 * minuteMs)
  t.equal(history.classOf('a'), 'clean')
})

t.test('a network whose call was shed has the place of an untried one again after a minute', async (t) => {
  const clock = createTestClock()
  const history = new NetworkHistory(clock)
  const shed = (network: string) =>
    history.recordShed({ class: history.classOf(network), network: fairNetworkOf(network) })
  shed('a')
  t.equal(history.classOf('a'), 'shed')
  history.record('a', false)
  t.equal(history.classOf('a'), 'failing', 'a wrong password weighs more')
  history.record('b', true)
  shed('b')
  t.equal(history.classOf('b'), 'known', 'a known network stays known')
  shed('c')
  await clock.advance(minuteMs)
  t.equal(history.classOf('c'), 'clean')
  history.record('2001:db8:1:4::/64', true)
  shed('2001:db8:1:2::/64')
  const networks = ['2001:db8:1:3::/64', '2001:db8:1:4::/64', '2001:db8:2:2::/64', '192.0.2.1']
  t.same(
    networks.map((network) => history.classOf(network)),
    ['shed', 'known', 'clean', 'clean'],
    'an IPv6 /48 is one network of the queue, and its known networks stay known'
  )
})

t.test('forgets the network with the oldest outcome when its memory is full', async (t) => {
  const history = new NetworkHistory(createTestClock(), 3)
  for (const network of ['a', 'b', 'c', 'a', 'd']) history.record(network, false)
  t.same(
    ['a', 'b', 'c', 'd'].map((network) => history.classOf(network)),
    ['failing', 'clean', 'failing', 'failing']
  )
})
