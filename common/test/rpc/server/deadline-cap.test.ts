/** Deadlines that peers send: one cap for all protocols, units and kinds of calls; malformed ones are `invalid_argument`. */

import { connect } from 'node:http2'
import t from 'tap'
import { capDeadline } from '#common/rpc/server/deadline-cap.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testRpc } from '#common/testing/service.ts'

const maxTimeout = 10_000
let seenMs: number | undefined
const app = buildSessionServer(
  {
    listSessions(_, context) {
      seenMs = context.timeoutMs()
      return {}
    }
  },
  { rpc: { ...testRpc, maxTimeout } }
)
await app.listen({ host: '127.0.0.1', port: 0 })
const { port } = app.server.address() as { port: number }
const session = connect(`http://127.0.0.1:${port}`)
t.teardown(async () => {
  session.destroy()
  await app.close()
})

interface Seen {
  status: number
  code: string | undefined
  body: string
}

const emptyEnvelope = Buffer.alloc(5)

/** Calls without a client, until the first message of the response, or its end. */
async function call(path: string, type: string, headers: Record<string, string>): Promise<Seen> {
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': type,
    te: 'trailers',
    authorization: `Bearer ${testRpc.token}`,
    ...headers
  })
  const seen: Seen = { status: 0, code: undefined, body: '' }
  stream.on('response', (response) => {
    seen.status = Number(response[':status'])
    seen.code = response['grpc-status'] as string | undefined
  })
  stream.on('trailers', (trailers) => {
    seen.code ??= trailers['grpc-status'] as string | undefined
  })
  if (type === 'application/proto') stream.end()
  else if (path.includes('Info')) stream.write(emptyEnvelope)
  else stream.end(emptyEnvelope)
  await new Promise<void>((resolve) => {
    stream.on('data', (chunk) => {
      seen.body += chunk
      // A stream that is open after its first message was not ended by its deadline.
      if (/Watch|Info/.test(path)) setTimeout(resolve, 100)
    })
    stream.once('close', resolve)
  })
  stream.close()
  return seen
}

const list = '/session.v1.SessionService/ListSessions'
const streams = [
  '/grpc.health.v1.Health/Watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo'
]
// 2^31 ms and more; 30 days as grpcurl and other clients of grpc-go write them; the highest of each unit that overflows.
const longGrpc = ['2592000S', '43200M', '720H', '2147483648m', '99999999H', '99999999M', '99999999S', '99999999m']
const longConnect = ['2592000000', '2147483648', '9999999999', '10001']

t.test('limits a deadline above the cap', async (t) => {
  await fieldCase(t, 9, 'a deadline beyond `rpc.maxTimeout` is lowered to it, for every kind of call', async (t) => {
    for (const timeout of longGrpc.filter((each) => each !== '2147483648m')) {
      for (const type of ['application/grpc', 'application/grpc-web+proto']) {
        const { status, code } = await call(list, type, { 'grpc-timeout': timeout })
        t.equal(status, 200)
        if (type === 'application/grpc') t.equal(code, '0', timeout)
        t.ok((seenMs as number) > maxTimeout - 2000 && (seenMs as number) <= maxTimeout, `${timeout}: ${seenMs} ms`)
      }
    }
    for (const timeout of longConnect) {
      t.equal((await call(list, 'application/proto', { 'connect-timeout-ms': timeout })).status, 200, timeout)
      t.ok((seenMs as number) > maxTimeout - 2000 && (seenMs as number) <= maxTimeout, `${timeout}: ${seenMs} ms`)
    }
    for (const path of streams) {
      const grpc = await call(path, 'application/grpc', { 'grpc-timeout': '2592000S' })
      t.match(grpc, { status: 200, code: undefined }, `${path} is open`)
      const connected = await call(path, 'application/connect+proto', { 'connect-timeout-ms': '2592000000' })
      t.equal(connected.status, 200)
      t.notMatch(connected.body, /deadline_exceeded/, path)
    }
  })

  await fieldCase(t, 9, 'a malformed deadline is `invalid_argument`, and zero is over at once', async (t) => {
    for (const timeout of ['-1S', 'S', '1', '1.5S', '1s', '123456789S', '2147483648m', '1S, 2S', '0x1S', '1h']) {
      const { code } = await call(list, 'application/grpc', { 'grpc-timeout': timeout })
      t.equal(code, '3', `grpc-timeout: ${timeout}`)
    }
    for (const timeout of ['-1', 'x', '1.5', '1e3', '12345678901', '1, 2', '0x1']) {
      const { status, body } = await call(list, 'application/proto', { 'connect-timeout-ms': timeout })
      t.equal(status, 400, `connect-timeout-ms: ${timeout}`)
      t.match(JSON.parse(body), { code: 'invalid_argument' })
    }
    t.equal((await call(list, 'application/grpc', { 'grpc-timeout': '0S' })).code, '4')
    const { body } = await call(list, 'application/proto', { 'connect-timeout-ms': '0' })
    t.match(JSON.parse(body), { code: 'deadline_exceeded' })
  })
})

t.test('keeps a deadline below the cap, in each unit', async (t) => {
  for (const timeout of ['1H', '60M', '3600S', '3600000m', '99999999u', '99999999n', '1n', '0S']) {
    const headers = { 'grpc-timeout': timeout }
    capDeadline(headers, 3_600_000, true)
    t.equal(headers['grpc-timeout'], timeout)
  }
  const headers = { 'grpc-timeout': '99999999u', 'connect-timeout-ms': '100000' }
  capDeadline(headers, 99_999, true)
  t.same(headers, { 'grpc-timeout': '99999m', 'connect-timeout-ms': '99999' })
})

t.test('sets the cap as the deadline of a unary call without one, and none for a stream', async (t) => {
  for (const [type, header] of [
    ['application/proto', 'connect-timeout-ms'],
    ['application/grpc+proto', 'grpc-timeout'],
    ['application/grpc-web', 'grpc-timeout']
  ]) {
    const headers: Record<string, string> = { 'content-type': type as string }
    capDeadline(headers, 500, false)
    t.equal(headers[header as string], undefined)
    capDeadline(headers, 500, true)
    t.equal(headers[header as string], header === 'grpc-timeout' ? '500m' : '500')
  }
})
