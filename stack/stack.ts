/** A run of the stack: takes the data directory, starts the engines and the services, and stops them in order. */

import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ConfigError } from '#common/config/load.ts'
import { collectGarbage } from '#common/process/start-garbage.ts'
import { addressTable } from './address-table.ts'
import type { Config } from './config.ts'
import { requireOwnData } from './data-owner.ts'
import { type Engines, isOwnRedis, startEngines } from './engines.ts'
import { eventVariables } from './event-key.ts'
import { type Instance, instanceEnvironment, instancePorts, portKey } from './instances.ts'
import { kafkaAccess } from './kafka-credentials.ts'
import { generatedKey, mailVariables } from './mail-settings.ts'
import { migrateAsOwner } from './migration.ts'
import { playgroundUrl } from './playground-url.ts'
import { findPorts, PortError, type WantedPort } from './port-check.ts'
import { rpcCredentials } from './rpc-credentials.ts'
import { type RunLock, takeRunLock } from './run-lock.ts'
import { rpcUrls, type StackParts, serviceEnvironment } from './service-environment.ts'
import { type ServiceOwner, serviceOwner } from './service-owner.ts'
import { untilReady, untilSinkReady } from './service-readiness.ts'
import { authority, type Service, serviceProgram, stopOrder } from './services.ts'
import { StartError } from './start-error.ts'
import { onStop } from './stop-signals.ts'
import { createSupervisor, type Supervisor } from './supervisor.ts'

const print = (line: string) => console.log(line)

/**
 * Runs the stack until a signal or a failed start stops it, and resolves to the exit code.
 *
 * @throws {ConfigError} if the data directory cannot be used, or if another run uses it
 */
export async function runStack(config: Config, instances: Instance[]): Promise<number> {
  const dataDir = resolve(config.stack.dataDir)
  const runDir = createDirectories(dataDir)
  const supervisor = createSupervisor(runDir, print)
  const lock = await lockDataDir(dataDir, runDir, supervisor.reaperPid)
  let exitCode = 0
  const starting = new AbortController()
  await new Promise<void>((stopped) => {
    function onFirstSignal(reason: string): void {
      print(`${reason}: stopping`)
      stopped()
    }
    function onLaterSignal(): void {
      print('killing all processes')
      exitCode = 130
      supervisor.killAll()
    }
    function onFailedStart(error: Error): void {
      if (starting.signal.aborted) return
      console.error(error instanceof StartError || error instanceof PortError ? error.message : error)
      exitCode = 1
      stopped()
    }
    onStop(onFirstSignal, onLaterSignal)
    startStack(config, instances, dataDir, supervisor, starting.signal).catch(onFailedStart)
  })
  starting.abort()
  const inOrder = stopOrder.flatMap((section) => instances.filter((instance) => instance.section === section))
  await supervisor.stop([...inOrder.map(({ name }) => name), 'kafka', 'redis', 'postgres'])
  lock.release()
  return exitCode
}

/** Creates the data directory. @returns the folder in it for the lock and the processes' output */
function createDirectories(dataDir: string): string {
  const runDir = join(dataDir, 'run')
  try {
    if (existsSync(dataDir)) requireOwnData(dataDir)
    mkdirSync(runDir, { recursive: true })
    // PostgreSQL may run as a user of its own, which passes through this folder to its data.
    chmodSync(dataDir, 0o711)
  } catch (error) {
    throw error instanceof ConfigError ? error : unusable(dataDir, error)
  }
  return runDir
}

async function lockDataDir(dataDir: string, runDir: string, reaperPid: number): Promise<RunLock> {
  // A full disk, for example.
  const lock = await takeRunLock(join(runDir, 'lock'), reaperPid, print).catch((error) => {
    throw unusable(dataDir, error)
  })
  if (typeof lock === 'number') throw new ConfigError(`stack.dataDir: process ${lock} already runs on ${dataDir}`)
  return lock
}

function unusable(dataDir: string, error: unknown): ConfigError {
  const { code, message } = error as NodeJS.ErrnoException
  return new ConfigError(`stack.dataDir: ${dataDir} cannot be used: ${code ?? message}`)
}

async function startStack(
  config: Config,
  instances: Instance[],
  dataDir: string,
  supervisor: Supervisor,
  signal: AbortSignal
): Promise<void> {
  const startedAt = performance.now()
  const { userSvc, redis, kafka } = config
  const own = instances.flatMap((instance) => instancePorts(instance, config))
  const ports = await findPorts([...enginePorts(config), ...own])
  const enginePort = (name: string) => ports.get(`stack.${name}Port`) ?? 0
  const owner = serviceOwner(config, dataDir, print)
  const engines = await startEngines({
    configured: {
      postgresUrl: userSvc.postgres.url,
      redis,
      kafka: kafka.enabled ? kafka : undefined
    },
    ports: { postgres: enginePort('postgres'), redis: enginePort('redis'), kafka: enginePort('kafka') },
    dataDir,
    supervisor,
    print,
    signal,
    isKafkaBackground: true,
    kafkaAccess: () => kafkaAccess(config, dataDir)
  })
  const isMigrated = await migrateAsOwner(config, engines, print, signal)
  startServices(config, instances, ports, { engines, isMigrated }, dataDir, supervisor, await owner)
  await allReady(config, instances, ports, engines, signal)
  print(`started in ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  print(`${addressTable(config, instances, ports, engines, dataDir)}\n`)
  print('ready')
  await collectGarbage()
}

/** The ports of the engines that have no configured address. */
function enginePorts(config: Config): WantedPort[] {
  const { userSvc, redis, kafka, stack } = config
  const host = '127.0.0.1'
  return [
    ...(userSvc.postgres.url === '' ? [{ key: 'stack.postgresPort', host, port: stack.postgresPort }] : []),
    ...(isOwnRedis(redis) ? [{ key: 'stack.redisPort', host, port: stack.redisPort }] : []),
    ...(kafka.enabled && kafka.brokers.length === 0 ? [{ key: 'stack.kafkaPort', host, port: stack.kafkaPort }] : [])
  ]
}

function startServices(
  config: Config,
  instances: Instance[],
  ports: ReadonlyMap<string, number>,
  backends: Pick<StackParts, 'engines' | 'isMigrated'>,
  dataDir: string,
  supervisor: Supervisor,
  owner: ServiceOwner | undefined
): void {
  const portsOf = (section: Service['section']) =>
    instances.filter((each) => each.section === section).map((each) => ports.get(portKey(each, 'port')) as number)
  const urls = {
    userSvc: rpcUrls('userSvc', config, portsOf('userSvc')),
    sessionSvc: rpcUrls('sessionSvc', config, portsOf('sessionSvc'))
  }
  const credentials = rpcCredentials(config, dataDir)
  const deviceKeys = config.userSvc.bruteForce.deviceKeys.join(',') || generatedKey(join(dataDir, 'device-key'))
  const mail = {
    ...mailVariables(config, join(dataDir, 'mail-key'), playgroundUrl(config, portsOf('gateway')[0])),
    ...eventVariables(config, dataDir)
  }
  const parts = { config, urls, ...backends, credentials, deviceKeys, mail }
  for (const instance of instances) {
    const own = {
      ...serviceEnvironment(instance.section, parts),
      ...instanceEnvironment(instance, config, ports),
      ...(owner && { NODE_COMPILE_CACHE: owner.compileCache })
    }
    supervisor.start(serviceProgram(instance, config, own, owner?.user))
  }
}

async function allReady(
  config: Config,
  instances: Instance[],
  ports: ReadonlyMap<string, number>,
  engines: Engines,
  signal: AbortSignal
): Promise<void> {
  await Promise.all(
    instances.map((instance) => {
      const { name, section } = instance
      const ops = { name, authority: authority(config[section].opsHost, ports.get(portKey(instance, 'opsPort'))) }
      return section === 'logSink'
        ? untilSinkReady(ops, engines.kafkaReady, print, signal)
        : untilReady(ops, print, signal)
    })
  )
}
