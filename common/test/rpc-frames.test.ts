/** What travels for a call: the end of a message goes with the message (RFC 9113, 6.1). */

import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { createClient } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { rpcClientMetrics } from '../metrics.ts'
import { createRpcTransport } from '../rpc-client.ts'
import { testRpc } from '../testing.ts'
import { buildSessionServer } from './session-server.ts'

const [data, endStream] = [0, 1]
const prefaceBytes = 24

/** A server, and the address of something before it that keeps what passes. */
async function serveRecorded(t: Test) {
  const app = buildSessionServer({ listSessions: () => ({ sessions: [{ id: 'x' }] }) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const passed = { requests: [] as Buffer[], answers: [] as Buffer[] }
  const recorder = createServer((caller) => {
    const callee = connect((app.server.address() as { port: number }).port, '127.0.0.1')
    caller.on('data', (bytes) => passed.requests.push(bytes)).pipe(callee)
    callee.on('data', (bytes) => passed.answers.push(bytes)).pipe(caller)
    for (const socket of [caller, callee]) socket.on('error', () => {})
  })
  await once(recorder.listen(0, '127.0.0.1'), 'listening')
  t.teardown(async () => {
    recorder.close()
    await app.close()
  })
  return {
    url: `http://127.0.0.1:${(recorder.address() as { port: number }).port}`,
    /** How many bytes each frame of data had, and whether it ended its stream. */
    frames: () => ({
      requests: dataFrames(Buffer.concat(passed.requests).subarray(prefaceBytes)),
      answers: dataFrames(Buffer.concat(passed.answers))
    })
  }
}

function dataFrames(bytes: Buffer): { bytes: number; ends: boolean }[] {
  const frames: { bytes: number; ends: boolean }[] = []
  for (let at = 0; at < bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    const ends = (bytes[at + 4] as number) & endStream
    if (bytes[at + 3] === data) frames.push({ bytes: bytes.readUIntBE(at, 3), ends: ends !== 0 })
  }
  return frames
}

t.test('a call of a service is one frame of data there and one back', async (t) => {
  const { url, frames } = await serveRecorded(t)
  const upstream = { name: 'session-svc', urls: [url], rpc: testRpc }
  const sessions = createClient(SessionService, createRpcTransport(upstream, rpcClientMetrics(new Registry())))
  const userId = '0192e4a0-0000-7000-8000-000000000000'
  for (let call = 0; call < 3; call += 1) t.match(await sessions.listSessions({ userId }), { sessions: [{ id: 'x' }] })
  const { requests, answers } = frames()
  t.equal(requests.length, 3)
  t.equal(answers.length, 3)
  t.ok([...requests, ...answers].every(({ bytes, ends }) => bytes > 0 && ends))
})

t.test('the answer to a gRPC client ends with its trailers', async (t) => {
  const { url, frames } = await serveRecorded(t)
  const health = createClient(Health, createGrpcTransport({ baseUrl: url, idleConnectionTimeoutMs: 50 }))
  t.equal((await health.check({})).status, Status.SERVING)
  t.match(frames().answers, [{ ends: false }])
})
