/** The product as `make run` starts it, on free ports, with the load generator as a trusted proxy and default settings. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { environmentName, forEachKey } from '#common/config/load.ts'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import { schema } from '../stack/config.ts'
import { redisAdmin } from '../stack/engines/redis-users.ts'

export interface Product {
  /** The process id of `make run`. */
  pid: number
  dataDir: string
  /** From the start of the command to the word `ready`. */
  startedInMs: number
  /** The first address in the printed table with this name and a matching description. */
  address(name: string, description?: RegExp): string
  /** The URL of a route. */
  route(path: string): string
  /** The URL of an engine with user and password. */
  engineUrl(name: 'postgres' | 'redis'): string
  /** The connection of an operator to Kafka. */
  kafka(): Required<Pick<KafkaConnection, 'brokers' | 'sasl'>>
  /** A generated password, by its file. */
  secret(file: string): string
  stop(): Promise<void>
}

const portKeys = [
  ...['STACK_POSTGRES_PORT', 'STACK_REDIS_PORT', 'STACK_KAFKA_PORT', 'GATEWAY_PORT', 'GATEWAY_OPS_PORT'],
  ...['USER_SVC_PORT', 'USER_SVC_OPS_PORT', 'SESSION_SVC_PORT', 'SESSION_SVC_OPS_PORT', 'LOG_SINK_OPS_PORT']
]

/** Starts another product on the engines of a running one, unless the settings name other engines. */
export function startBeside(product: Product, dataDir: string, settings: Record<string, string>): Promise<Product> {
  return startProduct(dataDir, {
    USER_SVC_POSTGRES_URL: product.engineUrl('postgres'),
    REDIS_URL: product.engineUrl('redis'),
    ...kafkaEnvironment(product),
    ...settings
  })
}

/** The broker of a product for another process, as its operator. */
export function kafkaEnvironment(product: Product): Record<string, string> {
  const { brokers, sasl } = product.kafka()
  return {
    KAFKA_BROKERS: brokers.join(','),
    KAFKA_SASL_MECHANISM: sasl.mechanism,
    KAFKA_SASL_USERNAME: sasl.username,
    KAFKA_SASL_PASSWORD: sasl.password
  }
}

/** Starts a product on a data directory; `settings` override the defaults. */
export async function startProduct(
  dataDir: string,
  settings: Record<string, string> = {},
  [command, ...args]: [string, ...string[]] = ['sh', 'stack/run.sh']
): Promise<Product> {
  const startedAt = performance.now()
  const child = spawn(command, args, { env: environment(dataDir, settings), stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    if (line === 'ready') break
  }
  if (lines.at(-1) !== 'ready') throw new Error(`the product did not start:\n${lines.join('\n')}`)
  const startedInMs = performance.now() - startedAt
  child.stdout.resume()

  function address(name: string, description = /./): string {
    const rows = lines.map((line) => /^(\S+) +(\S+) +(.*)$/.exec(line) ?? [])
    return rows.find((row) => row[1] === name && description.test(row[3] ?? ''))?.[2] ?? ''
  }
  const secret = (file: string) => readFileSync(join(dataDir, file), 'utf8').trim()

  return {
    pid: child.pid as number,
    dataDir,
    startedInMs,
    address,
    route: (path) => `${address('gateway', /^REST/)}${path}`,
    engineUrl(name) {
      const url = new URL(address(name, name === 'postgres' ? /^PostgreSQL/ : /^Redis/))
      url.username = name === 'postgres' ? 'auth' : redisAdmin
      url.password = secret(`${name}-password`)
      return url.href
    },
    kafka: () => ({
      brokers: address('kafka', /^Kafka/).split(','),
      sasl: { mechanism: 'plain', username: 'admin', password: secret('kafka-password') }
    }),
    secret,
    async stop() {
      child.kill('SIGTERM')
      await exited
    }
  }
}

/** Without the configuration of the caller, which may name a real product's data. */
function environment(dataDir: string, settings: Record<string, string>): NodeJS.ProcessEnv {
  const inherited = { ...process.env }
  forEachKey(schema, (path) => {
    delete inherited[environmentName(path)]
  })
  return {
    ...inherited,
    CONFIG_FILE: '/dev/null',
    // Stops with its parent process.
    MAKELEVEL: '1',
    MAKEFLAGS: '',
    // The load generator sends the addresses of many clients, like a proxy.
    GATEWAY_TRUSTED_PROXIES: '127.0.0.1/32',
    ...Object.fromEntries(portKeys.map((key) => [key, '0'])),
    STACK_DATA_DIR: dataDir,
    ...settings
  }
}
