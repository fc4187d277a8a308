/** The four services: how they are started, and the environment that they get. */

import { join } from 'node:path'
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
  /** Limits of V8's garbage collection: without them a process keeps hundreds of MB. compose.yaml repeats them. */
  heapOptions: string[]
  /** Whether the service yields the CPU to the others. */
  isBackground?: boolean
}

const root = join(import.meta.dirname, '..')

// In MB. V8 lets the old generation grow less between two collections when its limit is lower. A larger young generation
// takes memory and saves collections, which matters at thousands of requests a second. One thread beside the event loop
// collects: with V8's default of four, the event loops wait for them on two cores (p99.9 of `make bench ROWS=open-loop` at
// 5,000/s: 23 instead of 17 ms).
const small = ['--v8-pool-size=1', '--max-old-space-size=512', '--max-semi-space-size=2']
const busy = ['--v8-pool-size=1', '--max-old-space-size=1024', '--max-semi-space-size=4']

/** The services in the order in which they start. */
export const services: Service[] = [
  { name: 'session-svc', folder: 'session-svc', section: 'sessionSvc', heapOptions: busy },
  { name: 'user-svc', folder: 'user-svc', section: 'userSvc', heapOptions: small },
  { name: 'gateway', folder: 'gateway', section: 'gateway', heapOptions: busy },
  { name: 'log-sink', folder: 'log-sink', section: 'logSink', heapOptions: small, isBackground: true }
]

/** The order in which the services stop. */
export const stopOrder: Service['section'][] = ['gateway', 'userSvc', 'sessionSvc', 'logSink']

/**
 * How the C library keeps freed memory. The Dockerfile repeats these settings. PSS of three idle services (`KAFKA=off`): 204 and
 * 229 MB with them, 212 and 262 MB without, in alternating starts.
 */
export const mallocOptions = {
  // One arena instead of one for each thread, each with free memory of its own.
  MALLOC_ARENA_MAX: '1',
  // Free memory at the top of the heap returns to the system from 128 KB on.
  MALLOC_TRIM_THRESHOLD_: '131072',
  // Blocks from 64 KB on are mapped, and so return to the system when they are freed.
  MALLOC_MMAP_THRESHOLD_: '65536'
}

/** The program of one process; it is killed five seconds after its own stop time has passed. */
export function serviceProgram(instance: Service, config: Config, env: NodeJS.ProcessEnv): Program {
  const args = [...instance.heapOptions, join(root, instance.folder, 'server.ts')]
  return {
    name: instance.name,
    ...(instance.isBackground && { yieldsAfterMs: backgroundAfterMs }),
    graceMs: config.shutdown.timeout + config.shutdown.drainDelay + 5000,
    command: () => ({ file: process.execPath, args, options: { cwd: root, env } })
  }
}

/** The environment of every service: the caller's own, and the addresses of the engines and the other services. */
export function serviceEnvironment(
  config: Config,
  urls: Record<'userSvc' | 'sessionSvc', string>,
  engines: Engines,
  credentials: { rpcToken: string; adminToken: string }
): NodeJS.ProcessEnv {
  const { collected, spool } = logDirectories(config)
  const own = new Set<string>(runVariables)
  return {
    ...mallocOptions,
    // Not the variables of `make run`: a service rejects the unknown ones that begin with its prefix.
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.has(name))),
    USER_SVC_POSTGRES_URL: engines.postgresUrl,
    REDIS_URL: engines.redisUrl,
    KAFKA_BROKERS: engines.kafkaBrokers.join(','),
    KAFKA_ENABLED: String(config.kafka.enabled),
    RPC_TOKEN: credentials.rpcToken,
    RPC_ADMIN_TOKEN: credentials.adminToken,
    RPC_USER_SVC_URL: urls.userSvc,
    RPC_SESSION_SVC_URL: urls.sessionSvc,
    LOG_SPOOL_DIRECTORY: spool,
    LOG_SINK_DIRECTORY: collected,
    // Compiled code is reused: a start takes less time and leaves less garbage.
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.tools', 'compile-cache')
  }
}

/** The address that clients use: a listener on all addresses is reached on the loopback address. */
export function authority(host: string, port: number | undefined): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}

/** The URLs of all instances of a service, given their ports. */
export function rpcUrls(section: 'userSvc' | 'sessionSvc', config: Config, ports: number[]): string {
  // A URL that is only the default does not count: the port of the service may be configured.
  const configured = config.rpc[`${section}Url`].join(',')
  if (configured !== schema.rpc[`${section}Url`].default) return configured
  return ports.map((port) => `http://${authority(config[section].host, port)}`).join(',')
}
