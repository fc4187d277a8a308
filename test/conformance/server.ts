/**
 * The conformance server: the RPC server of the services, with connectrpc.conformance.v1.ConformanceService. The runner starts it, writes a
 * ServerCompatRequest to its standard input, and reads a ServerCompatResponse from its standard output.
 */

import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Registry } from '@prometheus-io/client'
import { buildRpcServer } from '#common/rpc/server/server.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import { conformanceRoutes, serverTimeoutMs } from './handlers.ts'
import { readMessages, type ServerRequest } from './messages.ts'

const noLimitBytes = 64 * 1024 * 1024

const messages = readMessages(process.argv[2] as string)
const directory = mkdtempSync(join(tmpdir(), 'conformance-'))
process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(0))

const request = await readRequest()
const { useTls, clientTlsCert, messageReceiveLimit, serverCreds } = request
permitCalls()
const app = buildRpcServer({
  log: silentLog,
  registry: new Registry(),
  readiness: alwaysReady,
  rpc: {
    ...testRpc,
    reflection: false,
    // The runner has a connection for each case.
    connections: { max: 50_000, maxPerNetwork: 50_000, maxStreams: 10_000 },
    maxMessageBytes: messageReceiveLimit || noLimitBytes,
    maxTimeout: serverTimeoutMs,
    ...(useTls && { tls: tlsFiles() })
  },
  services: [messages.service],
  files: [messages.service.file],
  routes: (router) => conformanceRoutes(router, messages)
})
presentCredential()
await app.listen({ host: '127.0.0.1', port: 0 })
writeResponse((app.server.address() as AddressInfo).port)

async function readRequest(): Promise<ServerRequest> {
  let read = Buffer.alloc(0)
  while (read.length < 4 || read.length < 4 + read.readUInt32BE(0)) {
    const [chunk] = (await once(process.stdin, 'data')) as [Buffer]
    read = Buffer.concat([read, chunk])
  }
  const schema = messages.message('ServerCompatRequest')
  return fromBinary(schema, read.subarray(4, 4 + read.readUInt32BE(0))) as unknown as ServerRequest
}

function writeResponse(port: number): void {
  const schema = messages.message('ServerCompatResponse')
  const content = { host: '127.0.0.1', port, ...(serverCreds && { pemCert: serverCreds.cert }) }
  const bytes = toBinary(schema, create(schema, content as Record<string, unknown>))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  process.stdout.write(Buffer.concat([length, bytes]))
}

function tlsFiles() {
  const path = (name: string, content: Uint8Array = new Uint8Array()) => {
    writeFileSync(join(directory, name), content, { mode: 0o600 })
    return join(directory, name)
  }
  const files = { cert: path('cert.pem', serverCreds?.cert), key: path('key.pem', serverCreds?.key) }
  return clientTlsCert.length > 0
    ? { ...files, ca: path('ca.pem', clientTlsCert), clientCert: 'require' as const }
    : files
}

/** The credential of the services permits the calls of their packages, so the service counts as one of them. */
function permitCalls(): void {
  Object.assign(messages.service.file.proto, { package: 'user.v1' })
}

/** The clients of the runner have no credential: each call gets it when it arrives. */
function presentCredential(): void {
  const emit = app.server.emit.bind(app.server) as (event: string, ...args: unknown[]) => boolean
  app.server.emit = ((event: string, ...args: unknown[]) => {
    const headers = event === 'stream' ? args[1] : event === 'request' ? (args[0] as { headers: unknown }).headers : {}
    ;(headers as IncomingHttpHeaders).authorization ??= `Bearer ${testRpc.token}`
    return emit(event, ...args)
  }) as typeof app.server.emit
}
