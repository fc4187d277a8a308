/** The four services and how they are started. */

import { join } from 'node:path'
import type { Config } from './config.ts'
import { backgroundAfterMs, type Program } from './supervised.ts'
import type { SystemUser } from './system-user.ts'

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

/** The program of one process; it is killed five seconds after its own stop time has passed. */
export function serviceProgram(instance: Service, config: Config, env: NodeJS.ProcessEnv, user?: SystemUser): Program {
  const args = [...instance.heapOptions, join(root, instance.folder, 'server.ts')]
  return {
    name: instance.name,
    ...(instance.isBackground && { yieldsAfterMs: backgroundAfterMs }),
    graceMs: config.shutdown.timeout + config.shutdown.drainDelay + 5000,
    command: () => ({ file: process.execPath, args, options: { cwd: root, env, ...user } })
  }
}

/** The scheme of a port, by its TLS configuration. */
export function httpScheme({ cert }: { cert: string }): 'http' | 'https' {
  return cert === '' ? 'http' : 'https'
}

/** The address that clients use: a listener on all addresses is reached on the loopback address. */
export function authority(host: string, port: number | undefined): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  return `${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
