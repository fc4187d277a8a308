/** The life of the stack: checked, started, ready, stopped. */

import { chmodSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectGarbage } from '#common/process/start-garbage.ts'
import { addressTable } from './addresses.ts'
import type { Config } from './config.ts'
import { type Engines, isOwnRedis, StartError, startEngines } from './engines.ts'
import { type Instance, instanceEnvironment, instancePorts, portKey } from './instances.ts'
import { findPorts, PortError, type WantedPort } from './ports.ts'
import { type RunLock, takeRunLock } from './run-lock.ts'
import { keepSecret, keptSecret } from './secret-file.ts'
import {
  authority,
  rpcUrls,
  type Service,
  serviceEnvironment,
  serviceProgram,
  untilReady,
  whyNotReady
} from './services.ts'
import { onStop } from './stop-signals.ts'
import { createSupervisor, type Supervisor } from './supervisor.ts'

const stopOrder = ['gateway', 'userSvc', 'sessionSvc', 'logSink']

// PostgreSQL takes paths of up to 1,023 bytes, those of its own files included.
const longestDataDirBytes = 800

const say = (line: string) => console.log(line)

/** Runs the stack until something stops it, and resolves to the exit code. A data directory takes one run at a time. */
export async function runStack(config: Config, instances: Instance[]): Promise<number> {
  const dataDir = resolve(config.stack.dataDir)
  const runDir = join(dataDir, 'run')
  const bytes = Buffer.byteLength(dataDir)
  if (bytes > longestDataDirBytes) {
    console.error(`stack.dataDir: the path has ${bytes} bytes, takes at most ${longestDataDirBytes}`)
    return 1
  }
  const cannotBeUsed = ({ code, message }: NodeJS.ErrnoException) =>
    console.error(`stack.dataDir: ${dataDir} cannot be used: ${code ?? message}`)
  try {
    mkdirSync(runDir, { recursive: true })
    // PostgreSQL may run as a user of its own, who has to pass through here to its data.
    chmodSync(dataDir, 0o711)
  } catch (error) {
    cannotBeUsed(error as Error)
    return 1
  }
  const supervisor = createSupervisor(runDir, say)
  let lock: RunLock | number
  try {
    lock = await takeRunLock(join(runDir, 'lock'), supervisor.reaperPid, say)
  } catch (error) {
    // A full disk, above all.
    cannotBeUsed(error as Error)
    await supervisor.stop([])
    return 1
  }
  if (typeof lock === 'number') {
    console.error(`stack.dataDir: process ${lock} already runs on ${dataDir}`)
    await supervisor.stop([])
    return 1
  }
  let exitCode = 0
  const starting = new AbortController()
  await new Promise<void>((done) => {
    function stop(why: string): void {
      say(`${why}: stopping`)
      done()
    }
    function hurry(): void {
      say('killing what is left')
      exitCode = 130
      supervisor.hurry()
    }
    function fail(error: Error): void {
      if (starting.signal.aborted) return
      console.error(error instanceof StartError || error instanceof PortError ? error.message : error)
      exitCode = 1
      done()
    }
    onStop(stop, hurry)
    startStack(config, instances, dataDir, supervisor, starting.signal).catch(fail)
  })
  starting.abort()
  const bySection = stopOrder.flatMap((section) => instances.filter((instance) => instance.section === section))
  await supervisor.stop([...bySection.map(({ name }) => name), 'kafka', 'redis', 'postgres'])
  lock.release()
  return exitCode
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
  const kafkaBrokers = kafka.enabled ? kafka.brokers : undefined
  const configured = { postgresUrl: userSvc.postgres.url, redis, kafkaBrokers }
  const ports = await findPorts([
    ...enginePorts(config),
    ...instances.flatMap((instance) => instancePorts(instance, config))
  ])
  const portsOfEngines = {
    postgres: ports.get('stack.postgresPort') ?? 0,
    redis: ports.get('stack.redisPort') ?? 0,
    kafka: ports.get('stack.kafkaPort') ?? 0
  }
  const engines = await startEngines({
    configured,
    ports: portsOfEngines,
    dataDir,
    supervisor,
    say,
    signal,
    isKafkaBackground: true
  })
  const portsOf = (section: Service['section']) =>
    instances.filter((each) => each.section === section).map((each) => ports.get(portKey(each, 'port')) as number)
  const urls = {
    userSvc: rpcUrls('userSvc', config, portsOf('userSvc')),
    sessionSvc: rpcUrls('sessionSvc', config, portsOf('sessionSvc'))
  }
  const env = serviceEnvironment(config, urls, engines, rpcToken(config, dataDir))
  for (const instance of instances) {
    const own = { ...env, ...instanceEnvironment(instance, config, ports) }
    supervisor.start(serviceProgram(instance, config, own))
  }
  await allReady(config, instances, ports, engines, signal)
  say(`everything answers after ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  say(`${addressTable(config, instances, ports, engines, dataDir)}\n`)
  say('ready')
  await collectGarbage()
}

/** The ports of the engines that are not there yet. */
function enginePorts(config: Config): WantedPort[] {
  const { userSvc, redis, kafka, stack } = config
  const host = '127.0.0.1'
  return [
    ...(userSvc.postgres.url === '' ? [{ key: 'stack.postgresPort', host, port: stack.postgresPort }] : []),
    ...(isOwnRedis(redis) ? [{ key: 'stack.redisPort', host, port: stack.redisPort }] : []),
    ...(kafka.enabled && kafka.brokers.length === 0 ? [{ key: 'stack.kafkaPort', host, port: stack.kafkaPort }] : [])
  ]
}

/** The credential between the services: the configured one, or one that is made once. Either way it is in the file. */
function rpcToken(config: Config, dataDir: string): string {
  const path = join(dataDir, 'rpc-token')
  if (config.rpc.token === '') return keptSecret(path)
  keepSecret(path, config.rpc.token)
  return config.rpc.token
}

// Kafka answers by then; what the sink still lacks is not only slow.
const sinkGraceMs = 20_000

/** Resolves when all services are ready. The product works without log-sink, so that one is not waited for in vain. */
async function allReady(
  config: Config,
  instances: Instance[],
  ports: ReadonlyMap<string, number>,
  engines: Engines,
  signal: AbortSignal
): Promise<void> {
  const opsAuthority = (instance: Instance) =>
    authority(config[instance.section].opsHost, ports.get(portKey(instance, 'opsPort')))

  /** Resolves when the sink can be gone on without, and why has been said. */
  async function sinkGivenUp(sink: Instance, settled: AbortSignal): Promise<void> {
    try {
      await engines.kafkaReady
    } catch (error) {
      if (!signal.aborted)
        say(`kafka does not answer: ${(error as Error).message}; going on without it, the logs stay on disk`)
      return
    }
    await sleep(sinkGraceMs, undefined, { signal: settled })
    say(
      `${sink.name} is not ready; going on without it, the logs stay on disk: ${await whyNotReady(opsAuthority(sink))}`
    )
  }

  await Promise.all(
    instances.map(async (instance) => {
      const { name, section } = instance
      if (section !== 'logSink') return untilReady(name, opsAuthority(instance), say, signal)
      const settled = new AbortController()
      const end = AbortSignal.any([signal, settled.signal])
      const either = [untilReady(name, opsAuthority(instance), say, end), sinkGivenUp(instance, end)]
      // The one that is not needed any more fails when it is told to end.
      for (const each of either) each.catch(() => {})
      await Promise.race(either)
      settled.abort()
    })
  )
}
