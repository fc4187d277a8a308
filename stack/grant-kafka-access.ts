/** The program of the job `kafka-access` in compose.yaml: waits for the brokers, gives each user its rules and exits. */

import { setTimeout as sleep } from 'node:timers/promises'
import { keyPaths } from '#common/config/catalogue.ts'
import { ConfigError, loadConfig } from '#common/config/load.ts'
import { requireProduction } from '#common/config/production.ts'
import { createKafka } from '#common/kafka/client.ts'
import { describeKafkaFailure } from '#common/kafka/failure-reason.ts'
import { withinMs } from '#common/time/timeout.ts'
import { schema } from '../log-sink/config.ts'
import { accessRules, grantAccess, kafkaNames } from './kafka-access.ts'

const deadlineMs = 180_000
const attemptMs = 20_000
const retryMs = 1000

try {
  const config = loadConfig(schema, process.env, { otherKeys: keyPaths })
  requireProduction(config, { schema })
  await grantWithin(deadlineMs, config)
} catch (error) {
  const text = error instanceof ConfigError ? error.message : describeKafkaFailure(error)
  console.error(`kafka-access: ${text}`)
  process.exitCode = 1
}

async function grantWithin(ms: number, config: ReturnType<typeof loadConfig<typeof schema>>): Promise<void> {
  const rules = accessRules(kafkaNames(config))
  const giveUpAt = performance.now() + ms
  for (;;) {
    const admin = createKafka(config.kafka, 'kafka-access').admin()
    try {
      await withinMs(attemptMs, admin.connect())
      return await withinMs(attemptMs, grantAccess(admin, rules))
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
    } finally {
      await withinMs(retryMs, admin.disconnect()).catch(() => {})
    }
    await sleep(retryMs)
  }
}
