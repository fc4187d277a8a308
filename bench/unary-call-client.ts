/**
 * The client of unary calls: starts unary-call-server.ts and calls it. Argument: `product` or `bare`. A child process, which sends
 * `ready`, then a CallResult for each Calls that it receives.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:http2'
import { join } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { newTrace } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { DeleteSessionRequestSchema, DeleteSessionResponseSchema, SessionService } from '#gen/session/v1/session_pb.ts'
import type { Listening } from './unary-call-server.ts'

export interface Calls {
  inFlight: number
  seconds: number
  minCalls: number
}

export interface CallResult {
  callsPerSecond: number
  /** CPU time of one call. */
  clientMicros: number
  serverMicros: number
}

const timeoutMs = 3000
const request = create(DeleteSessionRequestSchema, { target: { case: 'token', value: `ses_${'a'.repeat(70)}` } })
const variant = process.argv[2] ?? ''
const server = fork(join(import.meta.dirname, 'unary-call-server.ts'), [variant])
const [listening] = (await once(server, 'message')) as [Listening]
const call = variant === 'bare' ? bareCalls(listening) : productCalls(listening)
process.on('message', (calls: Calls) => measure(calls).then((result) => process.send?.(result)))
process.on('disconnect', () => process.exit())
process.send?.('ready')

async function measure({ inFlight, seconds, minCalls }: Calls): Promise<CallResult> {
  const [serverBefore, before, startedAt] = [await serverCpu(), process.cpuUsage(), performance.now()]
  let calls = 0
  const callUntilEnd = async () => {
    for (; calls < minCalls || performance.now() < startedAt + seconds * 1000; calls += 1) await call()
  }
  await Promise.all(Array.from({ length: inFlight }, callUntilEnd))
  const [{ user, system }, elapsedMs] = [process.cpuUsage(before), performance.now() - startedAt]
  return {
    callsPerSecond: (calls * 1000) / elapsedMs,
    clientMicros: (user + system) / calls,
    serverMicros: ((await serverCpu()) - serverBefore) / calls
  }
}

async function serverCpu(): Promise<number> {
  server.send('cpu')
  const [micros] = (await once(server, 'message')) as [number]
  return micros
}

/** Like a service: with the signal, the deadline and the trace of a caller. */
function productCalls({ port, rpc }: Listening): () => Promise<unknown> {
  const upstream = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc }
  const client = createClient(SessionService, createRpcTransport(upstream, rpcClientMetrics(new Registry())))
  const { signal } = new AbortController()
  return () => client.deleteSession(request, propagate({ signal, timeoutMs: () => timeoutMs, trace: newTrace() }))
}

function bareCalls({ port, rpc }: Listening): () => Promise<unknown> {
  const session = connect(`http://127.0.0.1:${port}`)
  const headers = {
    ':method': 'POST',
    ':path': '/session.v1.SessionService/DeleteSession',
    'content-type': 'application/proto',
    'connect-protocol-version': '1',
    'connect-timeout-ms': String(timeoutMs),
    authorization: `Bearer ${rpc.token}`
  }
  return () =>
    new Promise((resolve, reject) => {
      const stream = session.request(headers)
      const chunks: Buffer[] = []
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', reject)
      stream.on('end', () => resolve(fromBinary(DeleteSessionResponseSchema, Buffer.concat(chunks))))
      stream.end(toBinary(DeleteSessionRequestSchema, request))
    })
}
