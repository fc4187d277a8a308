/** The four services: how they are started, and when they are ready. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Config, schema } from './config.ts'
import type { Engines } from './engines.ts'
import { logDirectories } from './log-directories.ts'
import { runVariables } from './make-variables.ts'
import { backgroundAfterMs, type Program } from './supervised.ts'

/** One service of the product. */
export interface Service {
  name: string
  folder: string
  section: 'gateway' | 'userSvc' | 'sessionSvc' | 'logSink'
  /** How V8 collects garbage: with none of this, it keeps hundreds of MB where there is much memory. The same in compose.yaml. */
  heapOptions: string[]
  /** Whether it yields the CPU to the others. */
  isBackground?: boolean
}

const root = join(import.meta.dirname, '..')

// In MB. The smaller the limit of the old generation, the less V8 lets it grow between two collections. A larger young
// generation takes memory and saves collections, which counts at thousands of requests a second. One thread beside the event
// loop collects: with V8's four, the event loops of two cores wait for them (p99.9 of `make bench ROWS=open-loop` at 5,000/s:
// 23 instead of 17 ms).
const small = ['--v8-pool-size=1', '--max-old-space-size=512', '--max-semi-space-size=2']
const busy = ['--v8-pool-size=1', '--max-old-space-size=1024', '--max-semi-space-size=4']
const all: Service[] = [
  { name: 'session-svc', folder: 'session-svc', section: 'sessionSvc', heapOptions: busy },
  { name: 'user-svc', folder: 'user-svc', section: 'userSvc', heapOptions: small },
  { name: 'gateway', folder: 'gateway', section: 'gateway', heapOptions: busy },
  { name: 'log-sink', folder: 'log-sink', section: 'logSink', heapOptions: small, isBackground: true }
]

/** How the C library keeps what was freed; the same in the Dockerfile. */
export const mallocOptions = {
  // Every thread would keep room of its own for what it has freed.
  MALLOC_ARENA_MAX: '1',
  // Large buffers come and go: what they took is given back each time.
  MALLOC_TRIM_THRESHOLD_: '131072',
  // So are those from 64 KB on, wherever they lie.
  MALLOC_MMAP_THRESHOLD_: '65536'
}

/** The services in the order in which they are started. */
export const services = all.filter(({ folder }) => existsSync(entry(folder)))

/** How a process of a service is run; it has its own configuration to stop by, and five seconds more. */
export function serviceProgram(instance: Service, config: Config, env: NodeJS.ProcessEnv): Program {
  const args = [...instance.heapOptions, entry(instance.folder)]
  return {
    name: instance.name,
    ...(instance.isBackground && { yieldsAfterMs: backgroundAfterMs }),
    graceMs: config.shutdown.timeout + config.shutdown.drainDelay + 5000,
    command: () => ({ file: process.execPath, args, options: { cwd: root, env } })
  }
}

/** What the services read beside the caller's environment: where the engines and the other services are. */
export function serviceEnvironment(
  config: Config,
  urls: Record<'userSvc' | 'sessionSvc', string>,
  engines: Engines,
  rpcToken: string
): NodeJS.ProcessEnv {
  const { collected, spool } = logDirectories(config)
  const own = new Set<string>(runVariables)
  return {
    ...mallocOptions,
    // Without those of `make run` itself, which no service reads and some of which begin like a service's.
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.has(name))),
    USER_SVC_POSTGRES_URL: engines.postgresUrl,
    REDIS_URL: engines.redisUrl,
    KAFKA_BROKERS: engines.kafkaBrokers.join(','),
    KAFKA_ENABLED: String(config.kafka.enabled),
    RPC_TOKEN: rpcToken,
    RPC_USER_SVC_URL: urls.userSvc,
    RPC_SESSION_SVC_URL: urls.sessionSvc,
    LOG_SPOOL_DIRECTORY: spool,
    LOG_SINK_DIRECTORY: collected,
    // What Node.js has compiled once need not be compiled at each start, nor kept as garbage from it.
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.tools', 'compile-cache')
  }
}

/** An address as others reach it: a service that listens on all addresses is there on the loopback one, too. */
export function authority(host: string, port: number | undefined): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}

/** Resolves when a service is ready, however long it takes; says why it is not, once a minute. */
export async function untilReady(
  name: string,
  opsAuthority: string,
  say: (line: string) => void,
  signal: AbortSignal
): Promise<void> {
  let sayAt = performance.now() + 60_000
  while (!(await get(`http://${opsAuthority}/readyz`)).ok) {
    signal.throwIfAborted()
    if (performance.now() > sayAt) {
      say(`${name} is not ready yet: ${await whyNotReady(opsAuthority)}`)
      sayAt += 60_000
    }
    await sleep(50, undefined, { signal })
  }
}

/** What a service says of its readiness, on one line. */
export async function whyNotReady(opsAuthority: string): Promise<string> {
  const { text } = await get(`http://${opsAuthority}/readyz?verbose`)
  return text.trim().replaceAll('\n', '; ')
}

function entry(folder: string): string {
  return join(root, folder, 'server.ts')
}

/** Where all instances of a service are called, given the ports that they have. */
export function rpcUrls(section: 'userSvc' | 'sessionSvc', config: Config, ports: number[]): string {
  // Not the configured URL if that is only the default: the port may have been changed at the service.
  const configured = config.rpc[`${section}Url`].join(',')
  if (configured !== schema.rpc[`${section}Url`].default) return configured
  return ports.map((port) => `http://${authority(config[section].host, port)}`).join(',')
}

/** By an agent of its own: with `NODE_USE_ENV_PROXY`, `fetch` and the global agent ask a proxy for loopback addresses too. */
async function get(url: string): Promise<{ ok: boolean; text: string }> {
  try {
    const request = http.get(url, { agent: new http.Agent(), signal: AbortSignal.timeout(3000) })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return { ok: response.statusCode === 200, text: await text(response) }
  } catch {
    return { ok: false, text: 'it does not answer' }
  }
}
