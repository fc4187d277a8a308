/** After a refusal because of overload, an upstream gets no more calls of that method for a moment. */

import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { overloaded, retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { caller, codeOf, serve, userId } from '#common/test/rpc/upstreams.ts'

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
