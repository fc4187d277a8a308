/** compose.yaml with Docker Compose: it starts from a checkout under umask 077, restarts its containers, and keeps its data. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { until } from '#common/testing/until.ts'
import { newAddress, password } from '../../support/product.ts'
import { startTraffic, summary } from '../../support/traffic.ts'
import { composeCheckout } from '../checkout.ts'
import { startDaemon } from '../daemon.ts'

t.setTimeout(600_000)

const { services } = parseYaml(readFileSync('compose.yaml', 'utf8'), { merge: true }) as {
  services: Record<string, { profiles?: string[]; restart?: string; user: string }>
}
const longRunning = Object.entries(services)
  .filter(([, { profiles, restart }]) => profiles === undefined && restart !== undefined)
  .map(([name]) => name)
  .toSorted()
const daemon = await startDaemon({ bridged: true })
t.teardown(daemon.stop)
const { shell, compose, call, containers } = await composeCheckout(t, daemon)
const account = { email: newAddress(), password }
let token = ''

async function allHealthy(): Promise<boolean> {
  const found = await containers()
  return longRunning.every((name) => found.get(name)?.State.Health?.Status === 'healthy')
}

t.test('an `.env` with RPC_CALLERS stops Compose, which names the variables that replace it', (t) =>
  t.rejects(shell('RPC_CALLERS=shop:secret docker compose config --quiet'), {
    message: /RPC_CALLERS in \.env is replaced by RPC_SESSION_SVC_CALLERS and RPC_USER_SVC_CALLERS/
  })
)

t.test('`up --wait` starts a checkout under umask 077', async (t) => {
  const startedAt = performance.now()
  await compose('up --wait')
  t.comment(`measured: up --wait: healthy after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  t.same([...(await containers()).keys()].toSorted(), longRunning)
  t.ok(await allHealthy())
  const { status, body } = await call('POST', '/reg', { json: account })
  t.equal(status, 201)
  token = body.session.token
  const collected = () => compose('exec -T log-sink node stack/logs.ts')
  await until('log-sink has a line of the request', async () => /"service":"gateway".*"\/reg"/.test(await collected()))
})

t.test('no container has more permissions than it needs', async (t) => {
  for (const [name, { HostConfig, Config, Mounts }] of await containers()) {
    t.equal(HostConfig.ReadonlyRootfs, true, `${name} cannot write its own files`)
    t.same(HostConfig.CapDrop, ['ALL'], `${name} has no capability`)
    t.same(HostConfig.SecurityOpt, ['no-new-privileges:true'], `${name} can get no privileges`)
    t.equal(HostConfig.Privileged, false, name)
    t.equal(Config.User, services[name]?.user, `${name} is not root`)
    t.equal(HostConfig.PidsLimit, 1000, `${name} has a limit of processes`)
    for (const { Type, RW, Destination } of Mounts)
      t.equal(RW, Type === 'volume', `${name} writes to volumes only: ${Destination}`)
    const published = Object.values(HostConfig.PortBindings).flat()
    t.same(published, name === 'gateway' ? [{ HostIp: '127.0.0.1', HostPort: '18080' }] : [], `${name} is published`)
    const status = await daemon.docker('top', `auth-backend-${name}-1`, '-eo', 'pid,uid,args')
    t.notMatch(status, /^\s*\d+\s+0\s/m, `no process of ${name} is root`)
  }
})

t.test('a second `up` recreates no container and loses no request', async (t) => {
  const identity = async () =>
    [...(await containers())].map(([name, { Id, State }]) => [name, Id, State.StartedAt]).toSorted()
  const before = await identity()
  const traffic = await startTraffic(t, call, 30, 9)
  await compose('up --wait')
  await compose('up --detach')
  t.same(await identity(), before)
  const outcomes = await traffic.end()
  t.comment(`measured: a second up: ${summary(outcomes)}`)
  t.same(
    outcomes.filter(({ status }) => status < 200 || status > 299),
    []
  )
})

t.test('the data survive `down` and `up`', async (t) => {
  await compose('down')
  t.equal((await daemon.docker('ps', '--all', '--quiet')).trim(), '', 'no container is left')
  await compose('up --wait')
  t.equal((await call('POST', '/auth', { json: account })).status, 200, 'the account')
  t.equal((await call('GET', '/session', { token })).status, 200, 'the session')
})

t.test('the product recovers when all containers are killed at once', async (t) => {
  const before = await containers()
  const startedAt = performance.now()
  for (const { State } of before.values()) process.kill(State.Pid, 'SIGKILL')
  await until('each is restarted', async () => {
    const now = await containers()
    return longRunning.every(
      (name) => now.get(name)?.State.Pid && now.get(name)?.State.Pid !== before.get(name)?.State.Pid
    )
  })
  await until('all are healthy', allHealthy, 180_000)
  t.comment(`measured: all killed at once: healthy after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  t.equal((await call('POST', '/auth', { json: account })).status, 200, 'the account')
  t.equal((await call('GET', '/session', { token })).status, 200, 'the session')
})
