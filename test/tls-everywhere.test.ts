/** TLS on every hop, and RPC callers by certificate: a visit, and the replacement of all certificates under traffic. */

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, getCACertificates, setDefaultCACertificates } from 'node:tls'
import t from 'tap'
import type { TestCertificate } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { collectedLines } from './support/log-stack.ts'
import { recordPrivateKeys } from './support/private-keys.ts'
import { password } from './support/product.ts'
import { privateKeys } from './support/secret-names.ts'
import { createTlsProduct } from './support/tls-product.ts'
import { startTraffic, summary } from './support/traffic.ts'

t.setTimeout(300_000)

const { product, postgres, redis, ca, nextCa, trustOnly, replaceAll } = await createTlsProduct(t)
const { call, ports } = product
setDefaultCACertificates([...getCACertificates(), ...[ca, nextCa].map((each) => readFileSync(each.ca, 'utf8'))])

/** The issuer of the certificate that a port serves; `refused` if it does not accept a client with this certificate. */
async function issuerOf(port: number, certificate?: TestCertificate): Promise<string> {
  const own = certificate && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }
  const socket = connect({
    host: 'localhost',
    port,
    servername: 'localhost',
    ALPNProtocols: ['h2', 'http/1.1'],
    ...own
  })
  try {
    const closed = once(socket, 'close').then(() => Promise.reject(new Error('closed')))
    closed.catch(() => {})
    await Promise.race([once(socket, 'secureConnect'), closed])
    // The settings of HTTP/2; by TLS 1.3, a server refuses a client after the client has connected.
    if (certificate) await Promise.race([once(socket, 'data'), closed])
    return String(socket.getPeerCertificate().issuer.CN)
  } catch {
    return 'refused'
  } finally {
    socket.destroy()
  }
}

t.test('a visit, by TLS on every hop', async (t) => {
  await product.startAll('log-sink')
  const { token, email } = await product.register()
  const login = await call('POST', '/auth', { json: { email, password } })
  t.equal(login.status, 200)
  t.equal((await call('GET', '/session', { token })).status, 200)
  t.equal((await call('DELETE', '/logout', { token })).status, 204)
  t.equal((await call('GET', '/session', { token })).status, 401)
  await until('the lines are collected', () => {
    const lines = collectedLines(product.env.LOG_SINK_DIRECTORY ?? '') as { service: string; caller?: string }[]
    return ['user-svc gateway', 'session-svc user-svc', 'session-svc gateway', 'gateway undefined'].every((expected) =>
      lines.some(({ service, caller }) => `${service} ${caller}` === expected)
    )
  })
  const [{ count }] = (await postgres.admin`
    select count(*)::int from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'certified' and not ssl`) as [
    { count: number }
  ]
  t.equal(count, 0)
})

t.test(
  'all certificates and their CA are replaced under traffic: no request is lost, and no session ends',
  async (t) => {
    const kept = await product.register()
    const traffic = await startTraffic(t, call, 8)
    const [old, fresh] = [ca.issue('trial'), nextCa.issue('trial')]
    const rpcPorts = [ports.users, ports.sessions]
    t.equal(await issuerOf(ports.users, fresh), 'refused')

    await trustOnly(ca, nextCa)
    for (const port of rpcPorts)
      await until('both CAs are trusted', async () => (await issuerOf(port, fresh)) === 'first CA')
    const keys = recordPrivateKeys([product.env, ...product.settings.values()])
    const others = privateKeys().filter((path) => !keys.paths.has(path))
    t.same(others, ['kafka.tls.key'], 'test/secret-rotation.test.ts replaces it')
    await replaceAll(nextCa)
    t.same(keys.unchanged(), [], 'no private key is as before')
    for (const port of rpcPorts)
      await until('RPC has another certificate', async () => (await issuerOf(port, fresh)) === 'second CA')
    await until('REST has another certificate', async () => (await issuerOf(ports.rest)) === 'second CA')
    await trustOnly(nextCa)
    for (const port of rpcPorts)
      await until('the old CA is not trusted', async () => (await issuerOf(port, old)) === 'refused')
    await traffic.untilServed('POST /reg', 'POST /auth', 'GET /session')
    const outcomes = await traffic.end()
    t.comment(summary(outcomes))
    const failed = outcomes.filter(({ status }) => status < 200 || status > 299)
    const warnings = product
      .output()
      .split('\n')
      .filter((line) => /"level":"(warn|error)"/.test(line))
    const reasons = failed.length > 0 ? warnings.join('\n') : ''
    t.same(failed, [], `each of ${outcomes.length} requests succeeded ${reasons}`)

    // Connections that were established with the old certificates.
    await postgres.admin`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'certified'`
    await redis.client.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'])
    await product.stop('log-sink')
    product.start('log-sink')
    for (const name of ['session-svc', 'user-svc', 'gateway', 'log-sink'] as const) await product.untilReady(name)
    const login = { json: { email: kept.email, password } }
    await until('all engines are connected again', async () => (await call('POST', '/auth', login)).status === 200)
    t.equal((await call('GET', '/session', { token: kept.token })).status, 200, 'the session of before is valid')
    await product.register()
    t.notMatch(product.output(), /authz_fail|certificate_rejected|"level":"fatal"/)
  }
)
