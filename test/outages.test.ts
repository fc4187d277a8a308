/** Promises 2, 3 and 6 in short: what is down is 503 or 504, never 401; what was ended stays ended over a crash of Redis. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'

const redisPort = await freePort()
const redisDir = mkdtempSync(join(tmpdir(), 'redis-'))
const startRedis = () =>
  spawn('redis-server', ['--port', String(redisPort), '--dir', redisDir, '--save', '', '--appendonly', 'yes'])
let redis = startRedis()
const postgres = new URL(engineAddress('TEST_POSTGRES_URL'))
const postgresTarget = { host: postgres.hostname, port: Number(postgres.port) }
const postgresPort = await freePort()
let proxy = await startTcpProxy(postgresPort, postgresTarget)
t.teardown(async () => {
  const ended = once(redis, 'exit')
  redis.kill('SIGKILL')
  await Promise.all([ended, proxy.close()])
  rmSync(redisDir, { recursive: true, force: true })
})

const prepared = await createProduct(t)
const throughProxy = new URL(prepared.env.USER_SVC_POSTGRES_URL as string)
throughProxy.host = `127.0.0.1:${postgresPort}`
const product = await createProduct(t, {
  USER_SVC_POSTGRES_URL: throughProxy.href,
  REDIS_URL: `redis://127.0.0.1:${redisPort}`
})
await product.startAll()
const { call } = product

const email = newAddress()
const kept = (await call('POST', '/reg', { json: { email, password } })).body.session.token as string
const newToken = async () => (await call('POST', '/auth', { json: { email, password } })).body.session.token as string
const status = async (...args: Parameters<typeof call>) => (await call(...args)).status
const isServerError = (code: number) => code === 503 || code === 504

t.test('Redis killed: nobody is logged out by that, nobody who was logged out is back', async (t) => {
  const ended = await newToken()
  t.equal(await status('DELETE', '/logout', { token: ended }), 204)
  redis.kill('SIGKILL')
  await new Promise((resolve) => redis.once('exit', resolve))
  for (const token of [kept, ended]) {
    const answer = await call('GET', '/session', { token })
    t.equal(answer.status, 503)
    t.ok(answer.headers.get('retry-after'))
  }
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password: 'wrong password' } })))
  t.ok(isServerError(await status('DELETE', '/logout', { token: kept })))
  await until('the gateway says that it is not ready', async () => !(await product.isReady('gateway')))
  redis = startRedis()
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
  t.equal(await status('GET', '/session', { token: ended }), 401)
})

t.test('Redis frozen: an answer within the budget, and never 401', async (t) => {
  redis.kill('SIGSTOP')
  t.teardown(() => redis.kill('SIGCONT'))
  const startedAt = performance.now()
  t.equal(await status('GET', '/session', { token: kept }), 503)
  t.ok(performance.now() - startedAt < 1500, `${Math.round(performance.now() - startedAt)} ms`)
  redis.kill('SIGCONT')
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
})

t.test('PostgreSQL away: sessions and log-outs go on', async (t) => {
  const token = await newToken()
  await proxy.close()
  t.equal(await status('GET', '/session', { token: kept }), 200)
  t.equal(await status('DELETE', '/logout', { token }), 204)
  for (const path of ['/auth', '/reg']) {
    t.ok(isServerError(await status('POST', path, { json: { email: newAddress(), password } })), path)
  }
  t.ok(isServerError(await status('DELETE', '/delete', { token: kept })))
  t.equal(await status('GET', '/session', { token: kept }), 200, 'a deletion that was not done leaves the session')
  proxy = await startTcpProxy(postgresPort, postgresTarget)
  await until('log-in works again', async () => (await status('POST', '/auth', { json: { email, password } })) === 200)
})

t.test('session-svc and user-svc killed: 503 or 504, and all is well when they are back', async (t) => {
  await product.stop('session-svc', 'SIGKILL')
  t.equal(await status('GET', '/session', { token: kept }), 503)
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  product.start('session-svc')
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
  await product.stop('user-svc', 'SIGKILL')
  t.equal(await status('GET', '/session', { token: kept }), 200)
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  product.start('user-svc')
  await until('log-in works again', async () => (await status('POST', '/auth', { json: { email, password } })) === 200)
})

t.test('SIGTERM under load: what was accepted is answered, and every service exits 0', async (t) => {
  const requests = Array.from({ length: 20 }, () => status('GET', '/session', { token: kept }))
  await new Promise((resolve) => setTimeout(resolve, 5))
  const stopped = product.stop('gateway')
  const answers = await Promise.allSettled(requests)
  const answered = answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : 'refused'))
  t.ok(
    answered.every((each) => each === 200 || each === 'refused'),
    answered.join(' ')
  )
  t.equal(await stopped, 0)
  t.equal(await product.stop('user-svc'), 0)
  t.equal(await product.stop('session-svc'), 0)
})
