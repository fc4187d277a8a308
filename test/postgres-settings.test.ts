/** Settings of PostgreSQL that end statements or connections: calls are 503 or 504, and later calls succeed. */

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password } from './support/product.ts'

t.setTimeout(600_000)

async function productWith(t: Test, setting: string) {
  const product = await createProduct(t)
  const url = product.env.USER_SVC_POSTGRES_URL as string
  const admin = postgres(url, { max: 1, onnotice: () => {}, connection: { idle_session_timeout: 0 } })
  t.teardown(() => admin.end())
  await admin.unsafe(`alter database ${new URL(url).pathname.slice(1)} set ${setting}`)
  await product.startAll()
  return { ...product, admin }
}

fieldCase(t, 10, 'under lock_timeout a registration that meets a locked table is 503 or 504', async (t) => {
  const { call, admin } = await productWith(t, "lock_timeout = '200ms'")
  const register = () => call('POST', '/reg', { json: { email: newAddress(), password } })
  await admin.begin(async (transaction) => {
    await transaction`lock table users`
    const statuses = (await Promise.all(Array.from({ length: 5 }, register))).map(({ status }) => status)
    t.ok(
      statuses.every((status) => status === 503 || status === 504),
      statuses.join()
    )
  })
  await until('registrations work again', async () => (await register()).status === 201)
})

fieldCase(t, 10, 'under idle_session_timeout logins succeed', async (t) => {
  const { call } = await productWith(t, "idle_session_timeout = '300ms'")
  const email = newAddress()
  await until('the address is registered', async () => {
    const { status } = await call('POST', '/reg', { json: { email, password } })
    return status === 201 || status === 409
  })
  const statuses: number[] = []
  for (let round = 0; round < 20; round++) {
    await sleep(100 + 20 * round)
    statuses.push((await call('POST', '/auth', { json: { email, password } })).status)
  }
  t.ok(
    statuses.every((status) => [200, 503, 504].includes(status)),
    statuses.join()
  )
  t.ok(statuses.filter((status) => status === 200).length >= 15, statuses.join())
})
