/** Draining of HTTP/2: GOAWAY, requests in progress, incomplete requests, and clients of a rolling restart. */

import { once } from 'node:events'
import { type ClientHttp2Session, constants } from 'node:http2'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { openSession, send, start } from './http2-client.ts'
import { serve } from './http2-server.ts'

t.test('sends GOAWAY when it closes, answers requests in progress, and refuses incomplete ones', async (t) => {
  const { app, connections, port, finish } = await serve(t)
  const [idle, active] = [await openSession(t, port), await openSession(t, port)]
  const running = send(active, 'GET /wait')
  const incomplete = start(active, 'POST /body', { headers: { 'content-type': 'application/json' } })
  incomplete.on('error', () => {})
  await until('the requests arrive', () => app.requestsInFlight() === 2)
  const goaways = [idle, active].map((session) => once(session, 'goaway'))
  const refusal = new Promise((resolve) => incomplete.once('close', resolve))
  const closed = app.close()
  for (const goaway of goaways) t.equal((await goaway)[0], 0)
  await refusal
  t.equal(incomplete.rstCode, constants.NGHTTP2_REFUSED_STREAM)
  t.equal(app.requestsInFlight(), 1)
  finish()
  t.match(await running, { statusCode: 200, body: 'finished' })
  await closed
  await until('no connection is open', () => connections.size === 0)
})

t.test('a rolling restart loses no request of HTTP/2 clients', async (t) => {
  const instances = [await serve(t), await serve(t), await serve(t)]
  const statuses = new Set<number>()
  let [answered, sentAgain, current, isDone] = [0, 0, 0, false]

  async function client(): Promise<void> {
    let session: ClientHttp2Session | undefined
    while (!isDone) {
      if (session === undefined || session.closed) session = await openSession(t, instances[current]?.port as number)
      try {
        statuses.add((await send(session, 'POST /body', { json: {} })).statusCode)
        answered += 1
      } catch (error) {
        // The gateway has not processed the request: RFC 9113, 6.8.
        if (!/NGHTTP2_REFUSED_STREAM|ERR_HTTP2_GOAWAY_SESSION/.test(`${error}`)) throw error
        sentAgain += 1
      }
    }
  }
  const load = Array.from({ length: 8 }, client)
  for (const { app } of instances.slice(0, -1)) {
    const before = answered
    await until('the clients are served', () => answered > before + 200)
    current += 1
    await app.close()
  }
  isDone = true
  await Promise.all(load)
  t.same([...statuses], [200])
  t.comment(`${answered} requests were answered, ${sentAgain} were sent again`)
})
