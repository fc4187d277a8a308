/** The product as child processes, with its own ports and database, for end-to-end tests. */

import { type ChildProcess, spawn } from 'node:child_process'
import { hash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { createTestDatabase, engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { inheritedVariables } from './inherited-variables.ts'

/** How long a process may take from its start to readiness: on a busy machine the broker delays log-sink's group. */
export const startWithinMs = 90_000

export type ServiceName = 'session-svc' | 'user-svc' | 'gateway' | 'log-sink'

export interface Answer {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests read bodies of many types
  body: any
}

/** Budgets for a busy machine, in tests that do not test them. */
export const longBudgets = {
  GATEWAY_BUDGETS_SESSION: '20s',
  GATEWAY_BUDGETS_LOGOUT: '20s',
  GATEWAY_BUDGETS_DELETE: '20s',
  GATEWAY_BUDGETS_REG: '20s',
  GATEWAY_BUDGETS_AUTH: '20s',
  USER_SVC_POSTGRES_QUERY_TIMEOUT: '15s',
  SHUTDOWN_TIMEOUT: '40s',
  LOG_STDOUT: 'warn'
}

/** The callers of a product. Products that share `RPC_TOKEN` share the credentials of their callers. */
function callersOf(sharedToken: string) {
  const caller = (name: string, role = name) => ({ name, role, token: hash('sha256', `${name} ${sharedToken}`) })
  return [caller('gateway'), caller('user-svc'), caller('application', 'validation')] as const
}

/** Prepares the product. `start` starts its services. The test stops them. */
export async function createProduct(t: Pick<Test, 'teardown'>, overrides: Record<string, string> = {}) {
  const [rest, gatewayOps, users, userOps, sessions, sessionOps, sinkOps] = (await Promise.all(
    Array.from({ length: 7 }, freePort)
  )) as [number, number, number, number, number, number, number]
  const dataDir = mkdtempSync(join(tmpdir(), 'product-'))
  const [rpcToken, adminToken] = [randomBytes(32), randomBytes(32)].map((bytes) => bytes.toString('base64url')) as [
    string,
    string
  ]
  const callers = callersOf(overrides.RPC_TOKEN ?? rpcToken)
  const env: Record<string, string> = {
    ...inheritedVariables(),
    USER_SVC_POSTGRES_URL: overrides.USER_SVC_POSTGRES_URL ?? (await createTestDatabase(t)),
    REDIS_URL: overrides.REDIS_URL ?? engineAddress('TEST_REDIS_URL'),
    RPC_TOKEN: rpcToken,
    RPC_ADMIN_TOKEN: adminToken,
    RPC_CALLERS: callers.map(({ name, token, role }) => `${name}:${token}:${role}`).join(','),
    RPC_USER_SVC_URL: `http://127.0.0.1:${users}`,
    RPC_SESSION_SVC_URL: `http://127.0.0.1:${sessions}`,
    GATEWAY_PORT: String(rest),
    GATEWAY_OPS_PORT: String(gatewayOps),
    GATEWAY_RATE_LIMIT_ENABLED: 'false',
    USER_SVC_PORT: String(users),
    USER_SVC_OPS_PORT: String(userOps),
    USER_SVC_PASSWORD_COST: '4',
    SESSION_SVC_PORT: String(sessions),
    SESSION_SVC_OPS_PORT: String(sessionOps),
    LOG_SINK_OPS_PORT: String(sinkOps),
    LOG_SPOOL_DIRECTORY: join(dataDir, 'spool'),
    LOG_SINK_DIRECTORY: join(dataDir, 'logs'),
    // Services print their whole log, for `output`.
    LOG_STDOUT: 'trace',
    ...overrides
  }
  /** The credential of a caller, unless a test empties `RPC_CALLERS`: the services then present `RPC_TOKEN`. */
  function presented(name: ServiceName): Record<string, string> {
    const caller = callers.find((each) => each.name === name)
    return caller && env.RPC_CALLERS !== '' ? { RPC_OWN_TOKEN: caller.token } : {}
  }
  const opsPorts = { gateway: gatewayOps, 'user-svc': userOps, 'session-svc': sessionOps, 'log-sink': sinkOps }
  /** Variables of one service. */
  const settings = new Map<ServiceName, Record<string, string>>()
  const running = new Map<ServiceName, ChildProcess>()
  const output: Record<string, string> = {}

  function start(...names: ServiceName[]): void {
    for (const name of names) {
      const child = spawn(process.execPath, [`${name}/server.ts`], {
        env: { ...env, ...presented(name), ...settings.get(name) },
        stdio: ['ignore', 'pipe', 'pipe']
      })
      const collect = (chunk: Buffer) => {
        output[name] = (output[name] ?? '') + chunk.toString()
      }
      child.stdout.on('data', collect)
      child.stderr.on('data', collect)
      running.set(name, child)
    }
  }

  /** Sends a signal and waits for the end. @returns the exit code, or the signal that ended the process */
  async function stop(name: ServiceName, signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    const child = running.get(name)
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const ended = new Promise<number | string | null>((resolve) => {
      child.once('exit', (code, endSignal) => resolve(code ?? endSignal))
    })
    child.kill(signal)
    return ended
  }

  const ops = (name: ServiceName, path: string) =>
    fetch(`http://127.0.0.1:${opsPorts[name]}${path}`, { signal: AbortSignal.timeout(5000) })
  const isOk = (name: ServiceName, path: string) =>
    ops(name, path).then(
      ({ ok }) => ok,
      () => false
    )
  const isReady = (name: ServiceName) => isOk(name, '/readyz')
  const untilReady = (name: ServiceName) =>
    until(`${name} is ready\n${output[name] ?? ''}`, () => isReady(name), startWithinMs)
  const isAlive = (name: ServiceName) => isOk(name, '/livez')

  async function call(method: string, path: string, options: { token?: string; json?: unknown } = {}): Promise<Answer> {
    const headers: Record<string, string> = {
      ...(options.token && { authorization: `Bearer ${options.token}` }),
      ...(options.json !== undefined && { 'content-type': 'application/json' })
    }
    const body = options.json === undefined ? null : JSON.stringify(options.json)
    const origin = env.GATEWAY_TLS_CERT ? `https://localhost:${rest}` : `http://127.0.0.1:${rest}`
    const response = await fetch(`${origin}${path}`, { method, headers, body })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
  }

  /** Registers an account; repeats a registration that a busy machine sheds. */
  async function register(): Promise<{ email: string; token: string }> {
    const email = newAddress()
    let answer: Answer | undefined
    await until('an account is registered', async () => {
      answer = await call('POST', '/reg', { json: { email, password } })
      return answer.status === 201
    })
    return { email, token: answer?.body.session.token }
  }

  // A test that crashes runs no teardown.
  process.once('exit', () => {
    for (const child of running.values()) child.kill('SIGKILL')
  })
  t.teardown(async () => {
    await Promise.all([...running.keys()].map((name) => stop(name, 'SIGKILL')))
    rmSync(dataDir, { recursive: true, force: true })
  })

  return {
    env,
    settings,
    dataDir,
    ports: { rest, users, sessions },
    rpcToken,
    adminToken,
    callers,
    start,
    stop,
    ops,
    isReady,
    isAlive,
    call,
    register,
    /** The output of the services so far. */
    output: (name?: ServiceName) => (name ? (output[name] ?? '') : Object.values(output).join('')),
    process: (name: ServiceName) => running.get(name),
    /** Starts the services that answer requests, and the named ones, until all are ready. */
    async startAll(...more: ServiceName[]): Promise<void> {
      const names = ['session-svc', 'user-svc', 'gateway', ...more] as const
      start(...names)
      for (const name of names) await untilReady(name)
    },
    untilReady
  }
}

let addresses = 0
/** A unique email address. */
export const newAddress = () => `person${++addresses}-${randomBytes(4).toString('hex')}@example.org`

export const password = 'correct horse battery staple'
