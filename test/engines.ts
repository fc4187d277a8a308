/** PostgreSQL, Redis and Kafka for the tests, on free ports and with temporary data. */

import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isAlive } from '#common/process/process-identity.ts'
import { startEngines } from '../stack/engines.ts'
import { findPorts } from '../stack/port-check.ts'
import { createSupervisor } from '../stack/supervisor.ts'

interface TestEngines {
  /** The variables with the addresses. */
  environment: Record<string, string>
  /** Stops the engines and removes their data. */
  stop(): Promise<void>
}

/** Starts the engines without an address in the environment, and waits until all answer. */
export async function startTestEngines(
  root: string,
  print: (line: string) => void,
  signal: AbortSignal
): Promise<TestEngines> {
  const all = join(root, '.data', 'test')
  const dataDir = join(all, String(process.pid))
  removeLeftovers(all)
  mkdirSync(dataDir, { recursive: true })
  const supervisor = createSupervisor(join(dataDir, 'run'), print)

  async function stop(): Promise<void> {
    await supervisor.stop(['kafka', 'redis', 'postgres'])
    rmSync(dataDir, { recursive: true, force: true })
  }

  try {
    const { TEST_POSTGRES_URL = '', TEST_REDIS_URL = '', TEST_KAFKA_BROKERS = '' } = process.env
    const ports = await findPorts(['postgres', 'redis', 'kafka'].map((key) => ({ key, host: '127.0.0.1', port: 0 })))
    const engines = await startEngines({
      configured: {
        postgresUrl: TEST_POSTGRES_URL,
        redis: { topology: 'single', url: TEST_REDIS_URL },
        kafka: { brokers: TEST_KAFKA_BROKERS.split(',').filter((address) => address !== '') }
      },
      ports: { postgres: ports.get('postgres') ?? 0, redis: ports.get('redis') ?? 0, kafka: ports.get('kafka') ?? 0 },
      dataDir,
      supervisor,
      print,
      signal,
      // The data may be lost in a power failure.
      postgresSettings: { fsync: 'off', max_connections: '300' }
    })
    await engines.kafkaReady
    const environment = {
      TEST_POSTGRES_URL: engines.postgres.admin,
      TEST_REDIS_URL: engines.redis.admin,
      TEST_KAFKA_BROKERS: engines.kafkaBrokers.join(',')
    }
    return { environment, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Removes the data of killed runs. */
function removeLeftovers(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const name of readdirSync(folder)) {
    if (/^\d+$/.test(name) && !isAlive(Number(name))) rmSync(join(folder, name), { recursive: true, force: true })
  }
}
