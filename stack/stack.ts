/** The life of the stack: checked, started, ready, stopped. */

import { chmodSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressTable } from './addresses.ts'
import { type Engines, StartError, startEngines } from './engines.ts'
import { keepSecret, keptSecret } from './kept-secret.ts'
import { findPorts, PortError, type WantedPort } from './ports.ts'
import { takeRunLock } from './run-lock.ts'
import {
  authority,
  type Config,
  type Service,
  serviceEnvironment,
  serviceProgram,
  services,
  untilReady,
  whyNotReady
} from './services.ts'
import { onStop } from './stop-signals.ts'
import { createSupervisor, type Supervisor } from './supervisor.ts'

const stopOrder = ['gateway', 'user-svc', 'session-svc', 'log-sink', 'kafka', 'redis', 'postgres']

const say = (line: string) => console.log(line)

/** Runs the stack until something stops it, and resolves to the exit code. A data directory takes one run at a time. */
export async function runStack(config: Config): Promise<number> {
  const dataDir = resolve(config.stack.dataDir)
  const runDir = join(dataDir, 'run')
  try {
    mkdirSync(runDir, { recursive: true })
    // PostgreSQL may run as a user of its own, who has to pass through here to its data.
    chmodSync(dataDir, 0o711)
  } catch (error) {
    console.error(`stack.dataDir: ${dataDir} cannot be used: ${(error as NodeJS.ErrnoException).code}`)
    return 1
  }
  const supervisor = createSupervisor(runDir, say)
  const lock = await takeRunLock(join(runDir, 'lock'), supervisor.reaperPid, say)
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
    startStack(config, dataDir, supervisor, starting.signal).catch(fail)
  })
  starting.abort()
  await supervisor.stop(stopOrder)
  lock.release()
  return exitCode
}

async function startStack(config: Config, dataDir: string, supervisor: Supervisor, signal: AbortSignal): Promise<void> {
  const startedAt = performance.now()
  const { userSvc, redis, kafka } = config
  const configured = { postgresUrl: userSvc.postgres.url, redisUrl: redis.url, kafkaBrokers: kafka.brokers }
  const ports = await findPorts(wantedPorts(config))
  const enginePorts = {
    postgres: ports.get('stack.postgresPort') ?? 0,
    redis: ports.get('stack.redisPort') ?? 0,
    kafka: ports.get('stack.kafkaPort') ?? 0
  }
  const engines = await startEngines({ configured, ports: enginePorts, dataDir, supervisor, say, signal })
  const env = serviceEnvironment(config, ports, engines, rpcToken(config, dataDir))
  for (const { name } of services) supervisor.start(serviceProgram(name, config, env))
  await allReady(config, ports, engines, signal)
  say(`everything answers after ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  say(`${addressTable(config, ports, engines, dataDir)}\n`)
  say('ready')
}

/** Every port that is going to be listened on: those of the services, and of the engines that are not there yet. */
function wantedPorts(config: Config): WantedPort[] {
  const { userSvc, redis, kafka, stack } = config
  const host = '127.0.0.1'
  const engines = [
    ...(userSvc.postgres.url === '' ? [{ key: 'stack.postgresPort', host, port: stack.postgresPort }] : []),
    ...(redis.url === '' ? [{ key: 'stack.redisPort', host, port: stack.redisPort }] : []),
    ...(kafka.brokers.length === 0 ? [{ key: 'stack.kafkaPort', host, port: stack.kafkaPort }] : [])
  ]
  const listening = services.flatMap(({ section }) => {
    const { opsHost, opsPort, ...own } = config[section]
    const ops = { key: `${section}.opsPort`, host: opsHost, port: opsPort }
    return 'port' in own ? [{ key: `${section}.port`, host: own.host, port: own.port }, ops] : [ops]
  })
  return [...engines, ...listening]
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
  ports: ReadonlyMap<string, number>,
  engines: Engines,
  signal: AbortSignal
): Promise<void> {
  const opsAuthority = (section: Service['section']) =>
    authority(config[section].opsHost, ports.get(`${section}.opsPort`))

  /** Resolves when the sink can be gone on without, and why has been said. */
  async function sinkGivenUp(settled: AbortSignal): Promise<void> {
    try {
      await engines.kafkaReady
    } catch (error) {
      if (!signal.aborted)
        say(`kafka does not answer: ${(error as Error).message}; going on without it, the logs stay on disk`)
      return
    }
    await sleep(sinkGraceMs, undefined, { signal: settled })
    say(
      `log-sink is not ready; going on without it, the logs stay on disk: ${await whyNotReady(opsAuthority('logSink'))}`
    )
  }

  await Promise.all(
    services.map(async ({ name, section }) => {
      if (section !== 'logSink') return untilReady(name, opsAuthority(section), say, signal)
      const settled = new AbortController()
      const end = AbortSignal.any([signal, settled.signal])
      const either = [untilReady(name, opsAuthority(section), say, end), sinkGivenUp(end)]
      // The one that is not needed any more fails when it is told to end.
      for (const each of either) each.catch(() => {})
      await Promise.race(either)
      settled.abort()
    })
  )
}
