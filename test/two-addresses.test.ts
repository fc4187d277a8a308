/** A host with several addresses: requests on each of them are drained, refused and counted alike. */

import { connect } from 'node:net'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password } from './support/product.ts'

t.setTimeout(600_000)

const product = await createProduct(t, {
  NODE_OPTIONS: `--import=${join(import.meta.dirname, 'support', 'two-localhosts.ts')}`,
  GATEWAY_HOST: 'localhost',
  GATEWAY_OPS_HOST: 'localhost',
  GATEWAY_BUDGETS_REG: '30s',
  SHUTDOWN_TIMEOUT: '40s',
  USER_SVC_HOST: 'localhost',
  SESSION_SVC_HOST: 'localhost'
})
await product.startAll()
const hosts = ['127.0.0.1', '127.0.0.2']
const { ports, env } = product

/** The response to raw bytes on an address. */
function say(host: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(ports.rest, host, () => socket.end(text))
    let answer = ''
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

/** An answer without what belongs to one request only. */
const form = (answer: string) =>
  answer.replaceAll(/[0-9a-f]{32}|(?<=-)[0-9a-f]{16}(?=-)/g, '').replace(/(?<=\ndate: ).*/i, '')

await fieldCase(t, 2, 'a malformed request gets the same response on every address', async (t) => {
  const texts: [text: string, status: number][] = [
    ['GARBAGE\r\n\r\n', 400],
    ['GET /session HTTP/1.1\r\nHost: x\r\nExpect: the-moon\r\n\r\n', 417],
    ['GET /session HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nHost: x\r\nA: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    [
      'POST /reg HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n\r\n',
      413
    ]
  ]
  for (const [text, status] of texts) {
    const [first = '', second = ''] = await Promise.all(hosts.map((host) => say(host, text)))
    t.match(first, new RegExp(`^HTTP/1.1 ${status} `))
    t.match(first, /content-type: application\/problem\+json/i)
    t.equal(form(second), form(first), text.slice(0, 60))
  }
})

t.test('ops ports and RPC ports are open on every address', async (t) => {
  for (const host of hosts) {
    t.equal((await fetch(`http://${host}:${env.GATEWAY_OPS_PORT}/livez`)).status, 200, host)
    for (const port of [ports.users, ports.sessions]) {
      const socket = connect(port, host)
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
      socket.destroy()
    }
  }
})

await fieldCase(t, 2, 'SIGTERM: accepted requests are finished and answered on every address', async (t) => {
  const database = postgres(env.USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  const locked = Promise.withResolvers<void>()
  const unlock = Promise.withResolvers<void>()
  const transaction = database.begin(async (sql) => {
    await sql`lock table users`
    locked.resolve()
    await unlock.promise
  })
  await locked.promise
  const register = (host: string) =>
    fetch(`http://${host}:${ports.rest}/reg`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email: newAddress(), password })
    }).then(({ status }) => status)
  const answers = Promise.allSettled(hosts.flatMap((host) => Array.from({ length: 5 }, () => register(host))))
  const observer = postgres(env.USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  const waiting = async () => {
    const [row] = await observer`select count(*) from pg_locks where not granted and database =
      (select oid from pg_database where datname = current_database())`
    return Number(row?.count) >= 5
  }
  await until('registrations wait for the lock', waiting)
  const stopped = product.stop('gateway')
  const refused = async (host: string) =>
    (await say(host, 'GET / HTTP/1.1\r\n\r\n').catch(() => 'refused')) === 'refused'
  for (const host of hosts) await until(`${host} accepts no more`, () => refused(host))
  unlock.resolve()
  await transaction
  await Promise.all([database.end(), observer.end()])
  for (const result of await answers) t.match(result, { status: 'fulfilled', value: 201 })
  t.equal(await stopped, 0)
})
