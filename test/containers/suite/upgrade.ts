/** compose.two.yaml: an upgrade of one container after the other, by the documented commands, loses no request; the balancer is replaced. */

import t from 'tap'
import { until } from '#common/testing/until.ts'
import { runTool } from '../../../stack/tool.ts'
import { startTraffic, summary } from '../../support/traffic.ts'
import { composeCheckout, documented } from '../checkout.ts'
import { startDaemon } from '../daemon.ts'
import { productImage } from '../product-image.ts'

t.setTimeout(600_000)

const daemon = await startDaemon({ bridged: true })
t.teardown(daemon.stop)
const { shell, call, containers } = await composeCheckout(t, daemon)
const ours = [
  'gateway',
  'gateway-2',
  'log-sink',
  'log-sink-2',
  'session-svc',
  'session-svc-2',
  'user-svc',
  'user-svc-2'
]

t.test('an upgrade by the documented commands loses no request', async (t) => {
  await shell(documented('deploy.md', 'Two instances'))
  const before = await containers()
  t.same([...before.keys()].toSorted(), [...ours, 'balancer', 'kafka', 'postgres', 'redis'].toSorted())
  // A new image of the same name, as `docker compose build` makes it from new code.
  const build = `printf 'FROM ${productImage}\\nLABEL upgrade=%s\\n' "$1" | docker build --quiet --tag ${productImage} -`
  await runTool('sh', ['-c', build, 'sh', String(Date.now())], { env: daemon.environment })
  const [first, ...upgrade] = documented('upgrade.md', 'Upgrade order').split('\n')
  t.equal(first, 'docker compose build')
  const failures: string[] = []
  const observed: typeof call = async (...request) => {
    const answer = await call(...request)
    if (answer.status > 299)
      failures.push(`${new Date().toISOString()} ${request[1]} ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer
  }
  const traffic = await startTraffic(t, observed, 30, 9)
  const startedAt = performance.now()
  await shell(upgrade.join('\n'))
  const outcomes = await traffic.end()
  const after = await containers()
  for (const name of ours) t.not(after.get(name)?.Image, before.get(name)?.Image, `${name} runs the new image`)
  for (const name of ['balancer', 'kafka', 'postgres', 'redis'])
    t.equal(after.get(name)?.Id, before.get(name)?.Id, name)
  const lost = outcomes.filter(({ status }) => status < 200 || status > 299)
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  t.comment(
    `measured: upgrade in ${seconds} s: ${lost.length} of ${outcomes.length} requests lost: ${summary(outcomes)}`
  )
  t.ok(outcomes.length >= 1000, `${outcomes.length} requests`)
  for (const failure of failures.slice(0, 20)) t.comment(failure)
  t.equal(lost.length, 0, `${lost.length} of ${outcomes.length} lost`)
})

t.test('the balancer is replaced by the documented command', async (t) => {
  const before = await containers()
  await shell(documented('upgrade.md', 'Replace the balancer'))
  const after = await containers()
  t.same([...after.keys()].toSorted(), [...before.keys()].toSorted())
  for (const [name, { Id }] of after) t.equal(Id !== before.get(name)?.Id, name === 'balancer', name)
  await until('the balancer has a gateway', async () => (await call('GET', '/session')).status === 401)
})
