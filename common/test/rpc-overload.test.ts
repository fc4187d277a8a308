/** What an overloaded upstream has said is not asked again, and nobody waits in vain for what it says. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { overloaded, retryAfterSeconds } from '../errors.ts'
import { caller, codeOf, serve, userId } from './upstreams.ts'

t.test('an overloaded upstream is left alone for a moment, and only by the calls that it refused', async (t) => {
  let refusing = true
  let calls = 0
  const { port } = await serve(t, {
    createSession() {
      calls += 1
      if (refusing) throw overloaded(7)
      return {}
    },
    validateSession: () => ({})
  })
  const { client, rests } = caller(port)
  const create = () => client.createSession({ userId }).then(() => undefined, ConnectError.from)
  t.equal(await rests(), 0)
  t.equal(retryAfterSeconds((await create()) as ConnectError), 7)
  for (let call = 0; call < 20; call += 1) t.equal(retryAfterSeconds((await create()) as ConnectError), 7)
  t.ok(calls <= 2, `${calls} calls came through`)
  t.ok((await rests()) >= 19)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined)
  refusing = false
  await sleep(150)
  t.equal(await create(), undefined)
})

t.test('of many calls at once, those that an overloaded upstream need not refuse do not reach it', async (t) => {
  const room = 10
  let calls = 0
  const { port } = await serve(t, {
    async createSession() {
      calls += 1
      if (calls > room) throw overloaded(7)
      await sleep(500)
      return {}
    },
    validateSession: () => ({})
  })
  const { client, rests } = caller(port)
  await client.validateSession({ token: 'x' })
  const codes = await Promise.all(Array.from({ length: 1000 }, () => codeOf(client.createSession({ userId }))))
  t.equal(codes.filter((code) => code === undefined).length, room)
  t.equal(codes.filter((code) => code === Code.Unavailable).length, 1000 - room)
  t.ok(calls < 500, `${calls} of 1000 reached it`)
  t.equal(await rests(), 1000 - calls)
})

t.test('whoever comes while an overloaded upstream is left alone waits for nobody', async (t) => {
  let calls = 0
  const { port } = await serve(t, {
    async createSession() {
      calls += 1
      if (calls > 32) throw overloaded(7)
      await sleep(1000)
      return {}
    }
  })
  const { client } = caller(port)
  const create = () => codeOf(client.createSession({ userId }))
  const first = Array.from({ length: 48 }, create)
  // Those that are let in are answered long after the others.
  await Promise.race(first)
  const later = await Promise.all(Array.from({ length: 100 }, create))
  t.same(new Set(later), new Set([Code.Unavailable]))
  const codes = await Promise.all(first)
  t.equal(codes.filter((code) => code === undefined).length, 32)
})

t.test('many calls at once to an upstream that refuses none all reach it, past those that go away', async (t) => {
  const [early, gone, late] = [16, 200, 50]
  let most = 0
  let now = 0
  const { port } = await serve(t, {
    async createSession() {
      now += 1
      most = Math.max(most, now)
      await sleep(1000)
      now -= 1
      return {}
    }
  })
  const { client } = caller(port)
  const leaving = new AbortController()
  const calls = Array.from({ length: early + gone + late }, (_, index) =>
    codeOf(client.createSession({ userId }, index >= early && index < early + gone ? { signal: leaving.signal } : {}))
  )
  await sleep(5)
  leaving.abort()
  const codes = await Promise.all(calls)
  t.equal(codes.filter((code) => code === undefined).length, early + late)
  t.equal(codes.filter((code) => code === Code.Canceled).length, gone)
  t.ok(most > 2 * early, `no more than ${most} at a time`)
})
