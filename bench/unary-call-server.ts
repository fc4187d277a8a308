/**
 * The server of unary calls: the RPC server of the product with all interceptors, or bare node:http2 with protobuf-es.
 * Argument: `product` or `bare`. A child process, which sends its port and credential, then its CPU time for each message.
 */

import { createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { createLogger } from '#common/logging/logger.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { testRpc } from '#common/testing/service.ts'
import { DeleteSessionRequestSchema, DeleteSessionResponseSchema } from '#gen/session/v1/session_pb.ts'

/** The first message of the server. */
export interface Listening {
  port: number
  rpc: typeof testRpc
}

const port = await (process.argv[2] === 'bare' ? listenBare() : listenProduct())
process.send?.({ port, rpc: testRpc } satisfies Listening)
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.on('disconnect', () => process.exit())

/** At the default log level, so that each call writes a line, which is dropped. */
async function listenProduct(): Promise<number> {
  const log = createLogger('bench', 'info', { write() {} })
  const app = buildSessionServer({ deleteSession: () => ({}) }, { log })
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as AddressInfo).port
}

async function listenBare(): Promise<number> {
  const server = createServer()
  server.on('stream', (stream) => {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('end', () => {
      fromBinary(DeleteSessionRequestSchema, Buffer.concat(chunks))
      stream.respond({ ':status': 200, 'content-type': 'application/proto' })
      stream.end(toBinary(DeleteSessionResponseSchema, create(DeleteSessionResponseSchema)))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}
