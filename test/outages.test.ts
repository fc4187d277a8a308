/** Promises 2, 3 and 6: an outage is a 503 or 504, never a 401, and ended sessions stay ended after a crash of Redis. */

import t from 'tap'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { startOwnRedis } from './support/own-engine.ts'
import { createProduct, newAddress, password } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'

const redis = await startOwnRedis(t)
const postgres = new URL(engineAddress('TEST_POSTGRES_URL'))
const proxy = await startTcpProxy(0, { host: postgres.hostname, port: Number(postgres.port) })
t.teardown(proxy.close)

const prepared = await createProduct(t)
const throughProxy = new URL(prepared.env.USER_SVC_POSTGRES_URL as string)
throughProxy.host = `127.0.0.1:${proxy.port}`
const product = await createProduct(t, {
  USER_SVC_POSTGRES_URL: throughProxy.href,
  REDIS_URL: redis.url
})
await product.startAll()
const { call } = product

const { email, token: kept } = await product.register()
const newToken = async () => (await call('POST', '/auth', { json: { email, password } })).body.session.token as string
const status = async (...args: Parameters<typeof call>) => (await call(...args)).status
const isServerError = (code: number) => code === 503 || code === 504

t.test('Redis killed: 503 during the outage, then valid sessions are valid and ended ones invalid', async (t) => {
  const ended = await newToken()
  t.equal(await status('DELETE', '/logout', { token: ended }), 204)
  await redis.kill()
  for (const token of [kept, ended]) {
    const answer = await call('GET', '/session', { token })
    t.equal(answer.status, 503)
    t.ok(answer.headers.get('retry-after'))
  }
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password: 'wrong password' } })))
  t.ok(isServerError(await status('DELETE', '/logout', { token: kept })))
  await until('the gateway is not ready', async () => !(await product.isReady('gateway')))
  redis.start()
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
  t.equal(await status('GET', '/session', { token: ended }), 401)
})

t.test('Redis frozen: 503 within the budget', async (t) => {
  redis.signal('SIGSTOP')
  t.teardown(() => redis.signal('SIGCONT'))
  const startedAt = performance.now()
  t.equal(await status('GET', '/session', { token: kept }), 503)
  t.ok(performance.now() - startedAt < 1500, `${Math.round(performance.now() - startedAt)} ms`)
  redis.signal('SIGCONT')
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
})

t.test('PostgreSQL down: sessions and logouts work, other routes are 503 or 504', async (t) => {
  const token = await newToken()
  await proxy.become('refuse')
  t.equal(await status('GET', '/session', { token: kept }), 200)
  t.equal(await status('DELETE', '/logout', { token }), 204)
  for (const path of ['/auth', '/reg']) {
    t.ok(isServerError(await status('POST', path, { json: { email: newAddress(), password } })), path)
  }
  t.ok(isServerError(await status('DELETE', '/delete', { token: kept })))
  t.equal(await status('GET', '/session', { token: kept }), 200, 'the session of a failed deletion is valid')
  await proxy.become('pass')
  await until('login works again', async () => (await status('POST', '/auth', { json: { email, password } })) === 200)
})

t.test('session-svc and user-svc killed: 503 or 504, and recovery after their restart', async (t) => {
  await product.stop('session-svc', 'SIGKILL')
  t.equal(await status('GET', '/session', { token: kept }), 503)
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  product.start('session-svc')
  await until('the session is valid again', async () => (await status('GET', '/session', { token: kept })) === 200)
  await product.stop('user-svc', 'SIGKILL')
  t.equal(await status('GET', '/session', { token: kept }), 200)
  t.ok(isServerError(await status('POST', '/auth', { json: { email, password } })))
  product.start('user-svc')
  await until('login works again', async () => (await status('POST', '/auth', { json: { email, password } })) === 200)
})
