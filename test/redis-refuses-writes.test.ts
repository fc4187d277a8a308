/** Promise 6 while Redis answers a part of the commands: sessions are validated, and no password is hashed in vain. */

import t from 'tap'
import { connectRedis } from '#common/redis/connection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { startOwnRedis } from './support/own-engine.ts'
import { createProduct, newAddress, password } from './support/product.ts'

const redis = await startOwnRedis(t)
const admin = connectRedis(redis.url, silentLog)
t.teardown(() => admin.destroy())
// A tenth of the idle timeout passes between the validations of this test, so that they record uses.
const product = await createProduct(t, { REDIS_URL: redis.url, SESSION_IDLE_TIMEOUT: '5s' })
await product.startAll()
const { call } = product
const email = newAddress()
const { token } = (await call('POST', '/reg', { json: { email, password } })).body.session as { token: string }
const status = async (...args: Parameters<typeof call>) => (await call(...args)).status
const login = () => status('POST', '/auth', { json: { email, password } })
const validate = () => status('GET', '/session', { token })

const verbose = async () => (await product.ops('session-svc', '/readyz?verbose')).text()
const isDown = async () => /\[-\] redis-writes/.test(await verbose())

fieldCase(t, 6, '`GET /session` is 200, logins and logouts are 503, and `/readyz` shows the reason', async (t) => {
  await admin.configSet('min-replicas-to-write', '1')
  t.equal(await validate(), 200)
  await until('writes are known to be refused', isDown)
  t.same([await validate(), await login(), await status('DELETE', '/logout', { token })], [200, 503, 503])
  t.equal(await status('POST', '/auth', { json: { email, password: 'a wrong password' } }), 503, 'no hash in vain')
  t.match(await verbose(), /^ready\n\[\+\] redis: up\n\[-\] redis-writes: answers "NOREPLICAS /)
  t.ok(await product.isReady('gateway'))
  await admin.configSet('min-replicas-to-write', '0')
  await until('logins work', async () => (await login()) === 200)
})

fieldCase(t, 7, '`GET /session` is 200 throughout the pause, beside logins that wait for it', async (t) => {
  await admin.sendCommand(['CLIENT', 'PAUSE', '60000', 'WRITE'])
  const logins = [login(), login()]
  const seen = new Set<number>()
  const endsAt = performance.now() + 3000
  while (performance.now() < endsAt) seen.add(await validate())
  t.same([...seen], [200])
  await until('writes are known to be delayed', isDown)
  t.equal(await login(), 503)
  await admin.sendCommand(['CLIENT', 'UNPAUSE'])
  for (const each of await Promise.all(logins)) t.ok([200, 503, 504].includes(each), String(each))
  await until('logins work', async () => (await login()) === 200)
  t.equal(await status('DELETE', '/logout', { token }), 204)
  t.equal(await validate(), 401)
})
