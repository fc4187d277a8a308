/** The environment of each service: its own secrets and settings, and none of another service or of the caller. */

import { join } from 'node:path'
import { environmentName, forEachKey, type Schema } from '#common/config/load.ts'
import { mailDirectory } from '#common/config/mail-section.ts'
import { schema as gatewaySchema } from '../gateway/config.ts'
import { schema as logSinkSchema } from '../log-sink/config.ts'
import { schema as sessionSvcSchema } from '../session-svc/config.ts'
import { schema as userSvcSchema } from '../user-svc/config.ts'
import { type Config, schema } from './config.ts'
import { kafkaLogin } from './engines/kafka.ts'
import type { Engines } from './engines.ts'
import { logDirectories } from './log-directories.ts'
import { acceptedVariables, presentedVariables, type RpcCredentials } from './rpc-credentials.ts'
import { authority, httpScheme, type Service } from './services.ts'
import { systemEnvironment } from './system-environment.ts'

/** What `make run` generated or started, for the services that need it. */
export interface StackParts {
  config: Config
  urls: Record<'userSvc' | 'sessionSvc', string>
  engines: Engines
  /** Whether `make run` has migrated the database. */
  isMigrated: boolean
  credentials: RpcCredentials
  /** The keys of device tokens. */
  deviceKeys: string
  /** The settings of emails, with their keys. */
  mail: NodeJS.ProcessEnv
}

const root = join(import.meta.dirname, '..')

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

/** The credentials that a service accepts. */
const acceptedKeys = ['rpc.token', 'rpc.previousToken', 'rpc.callers']

/** The keys that a service reads, and the secrets among them that it does not use. */
const known: Record<Service['section'], { schema: Schema; unused: readonly string[] }> = {
  gateway: {
    schema: gatewaySchema,
    unused: [...acceptedKeys, 'rpc.adminToken', 'rpc.previousAdminToken', 'mail.url', 'mail.keys']
  },
  userSvc: { schema: userSvcSchema, unused: [] },
  sessionSvc: { schema: sessionSvcSchema, unused: ['rpc.ownToken', 'rpc.adminToken', 'rpc.previousAdminToken'] },
  logSink: { schema: logSinkSchema, unused: [] }
}

/** The variables that `make run` sets for one service only. */
const ownVariables: Record<Service['section'], (parts: StackParts) => NodeJS.ProcessEnv> = {
  gateway: (parts) => ({
    ...rpcUrlVariables(parts),
    ...presentedVariables('gateway', parts.credentials),
    REDIS_URL: parts.engines.redis.gateway,
    // For the emails that the playground shows; the URL of a server contains a password.
    ...(mailDirectory(parts.mail.MAIL_URL ?? '') !== undefined && { MAIL_URL: parts.mail.MAIL_URL })
  }),
  userSvc: (parts) => ({
    ...rpcUrlVariables(parts),
    ...presentedVariables('userSvc', parts.credentials),
    ...acceptedVariables('userSvc', parts.credentials),
    USER_SVC_BRUTE_FORCE_DEVICE_KEYS: parts.deviceKeys,
    USER_SVC_POSTGRES_URL: parts.engines.postgres.service,
    // The owner of the tables has migrated; user-svc runs without that role.
    USER_SVC_POSTGRES_MIGRATION_URL: '',
    ...(parts.isMigrated && { USER_SVC_POSTGRES_MIGRATE: 'false' }),
    ...parts.mail
  }),
  sessionSvc: (parts) => ({
    ...acceptedVariables('sessionSvc', parts.credentials),
    REDIS_URL: parts.engines.redis.sessionSvc
  }),
  logSink: ({ config }) => ({ LOG_SINK_DIRECTORY: logDirectories(config).collected })
}

/** The environment of a service. */
export function serviceEnvironment(section: Service['section'], parts: StackParts): NodeJS.ProcessEnv {
  const { config, engines } = parts
  const own: NodeJS.ProcessEnv = {
    ...ownVariables[section](parts),
    ...kafkaVariables(section, engines),
    KAFKA_ENABLED: String(config.kafka.enabled),
    LOG_SPOOL_DIRECTORY: logDirectories(config).spool,
    // Compiled code is reused: a start takes less time and leaves less garbage.
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, '.tools', 'compile-cache')
  }
  return { ...mallocOptions, ...inherited(section, new Set(Object.keys(own))), ...own }
}

const kafkaUserOf = { gateway: 'gateway', userSvc: 'user-svc', sessionSvc: 'session-svc', logSink: 'log-sink' } as const

/** The brokers, and the login of the service at those that `make run` started. */
function kafkaVariables(section: Service['section'], { kafkaBrokers, kafkaPasswords }: Engines): NodeJS.ProcessEnv {
  const brokers = { KAFKA_BROKERS: kafkaBrokers.join(',') }
  if (!kafkaPasswords) return brokers
  const { mechanism, username, password } = kafkaLogin(kafkaUserOf[section], kafkaPasswords)
  return {
    ...brokers,
    KAFKA_TLS_ENABLED: 'false',
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: username,
    KAFKA_SASL_PASSWORD: password
  }
}

/** The caller's variables for a service: those of the system, and those of keys that the service uses. */
function inherited(section: Service['section'], replaced: ReadonlySet<string>): NodeJS.ProcessEnv {
  const own = usedVariables(section)
  const isOwn = (name: string) => {
    const key = name.replace(/_FILE$/, '')
    return !replaced.has(name) && !replaced.has(key) && (own.has(name) || own.has(key))
  }
  return systemEnvironment(isOwn)
}

function usedVariables(section: Service['section']): Set<string> {
  const variables = new Set<string>()
  const { schema: ownSchema, unused } = known[section]
  forEachKey(ownSchema, (path) => unused.includes(path) || variables.add(environmentName(path)))
  return variables
}

function rpcUrlVariables({ urls }: StackParts): NodeJS.ProcessEnv {
  return { RPC_USER_SVC_URL: urls.userSvc, RPC_SESSION_SVC_URL: urls.sessionSvc }
}

/** The URLs of all instances of a service, given their ports. */
export function rpcUrls(section: 'userSvc' | 'sessionSvc', config: Config, ports: number[]): string {
  // A URL that is only the default does not count: the port of the service may be configured.
  const configured = config.rpc[`${section}Url`].join(',')
  if (configured !== schema.rpc[`${section}Url`].default) return configured
  return ports.map((port) => `${httpScheme(config.rpc.tls)}://${authority(config[section].host, port)}`).join(',')
}
