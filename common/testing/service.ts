/** Support for the tests of several services: addresses of the engines, a logger without output, a service that is always ready. */

import { randomBytes } from 'node:crypto'
import type { Interceptor, Transport } from '@connectrpc/connect'
import { createGrpcTransport } from '@connectrpc/connect-node'
import postgres from 'postgres'
import { createLogger } from '#common/logging/logger.ts'
import type { Readiness } from '#common/ops/readiness.ts'

/** The address of an engine that the test runner started. */
export function engineAddress(name: 'TEST_POSTGRES_URL' | 'TEST_REDIS_URL' | 'TEST_KAFKA_BROKERS'): string {
  const address = process.env[name]
  if (!address) throw new Error(`${name} is not set: run the tests by \`make test\``)
  return address
}

/** The Kafka under test, as the configuration section of a service; its login is optional. */
export function testKafka(brokers = engineAddress('TEST_KAFKA_BROKERS')) {
  const { TEST_KAFKA_MECHANISM = 'none', TEST_KAFKA_USERNAME = '', TEST_KAFKA_PASSWORD = '' } = process.env
  const mechanism = TEST_KAFKA_MECHANISM as 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512'
  return {
    brokers: brokers.split(','),
    sasl: { mechanism, username: TEST_KAFKA_USERNAME, password: TEST_KAFKA_PASSWORD }
  }
}

/** A log that writes nothing. */
export const silentLog = createLogger('test', 'silent')

/** A service without dependencies. */
export const alwaysReady: Readiness = {
  ready: () => true,
  blocked: () => false,
  draining: () => false,
  states: () => [],
  requireUp: () => {},
  drain: () => {},
  probeNow: () => {},
  stop: () => {}
}

/** The `rpc` section for servers under test. */
export const testRpc = {
  token: randomBytes(24).toString('base64url'),
  previousToken: '',
  adminToken: randomBytes(24).toString('base64url'),
  previousAdminToken: '',
  ownToken: '',
  callers: [] as string[],
  reflection: true,
  maxMessageBytes: 65_536,
  maxTimeout: 10_000,
  connections: { max: 10_000, maxPerNetwork: 1000, maxStreams: 10_000 }
}

/** A gRPC client's transport that carries the credential of the servers under test, or another one. */
export function testTransport(port: number, token = testRpc.token): Transport {
  const authorized: Interceptor = (next) => (request) => {
    request.header.set('authorization', `Bearer ${token}`)
    return next(request)
  }
  return createGrpcTransport({
    baseUrl: `http://127.0.0.1:${port}`,
    interceptors: [authorized],
    idleConnectionTimeoutMs: 50
  })
}

/** A database of its own on the PostgreSQL under test; it is dropped when the test ends. */
export async function createTestDatabase(t: { teardown: (end: () => Promise<void>) => void }): Promise<string> {
  const admin = postgres(engineAddress('TEST_POSTGRES_URL'), { max: 1, onnotice: () => {} })
  const name = `test_${randomBytes(6).toString('hex')}`
  await admin`create database ${admin(name)}`
  t.teardown(async () => {
    await admin`drop database ${admin(name)} with (force)`
    await admin.end()
  })
  const url = new URL(engineAddress('TEST_POSTGRES_URL'))
  url.pathname = `/${name}`
  return url.href
}
