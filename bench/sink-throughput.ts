/** Lines a second that one sink collects from a backlog, against a copy of the same bytes on the same disk. */

import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { globSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKafka, createLineSender } from '#common/kafka/client.ts'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import { createTopic } from '#common/kafka/topic.ts'
import { findFreePort } from '../stack/port-check.ts'
import { mallocOptions } from '../stack/service-environment.ts'
import { type Service, services } from '../stack/services.ts'
import { runTool } from '../stack/tool.ts'
import { median, spread } from './measurement.ts'
import type { Part } from './part.ts'
import { kafkaEnvironment } from './product.ts'

const goal = 100_000
const sources = 24
const batchLines = 1500

export const measureSink: Part = async ({ product, quick, dataDir }) => {
  const { lines, runs } = quick ? { lines: 300_000, runs: 1 } : { lines: 2_000_000, runs: 3 }
  const topic = `bench-${randomBytes(4).toString('hex')}`
  await fill(product.kafka(), topic, lines)
  const sinkRates: number[] = []
  const catRates: number[] = []
  for (let run = 0; run < runs; run += 1) {
    const folder = join(dataDir, `sink-${run}`)
    mkdirSync(folder, { recursive: true })
    sinkRates.push(await collect(kafkaEnvironment(product), topic, folder, lines))
    catRates.push(await copy(folder, lines))
    rmSync(folder, { recursive: true })
  }
  const rate = median(sinkRates)
  const ratio = (rate / median(catRates)).toFixed(2)
  return [
    {
      name: 'log lines a second, Kafka to disk, one sink',
      goal: `≥ ${goal.toLocaleString('en-US')}`,
      value: spread(sinkRates),
      passed: rate >= goal,
      details: `${lines.toLocaleString('en-US')} lines, ${runs} runs; cat and sync of the same bytes: ${spread(catRates)}, ratio ${ratio}`,
      figures: { sinkRates, catRates }
    }
  ]
}

/** A backlog like that of the services, with random ids, which do not compress. */
async function fill(kafka: KafkaConnection, topic: string, lines: number): Promise<void> {
  const admin = createKafka(kafka, 'bench').admin()
  await admin.connect()
  await createTopic(admin, { topic, numPartitions: 6 })
  await admin.disconnect()
  const sender = createLineSender({ ...kafka, compression: 'zstd', logs: { topic } }, 'bench')
  const positions = new Array(sources).fill(1)
  for (let sent = 0; sent < lines; sent += batchLines) {
    const source = (sent / batchLines) % sources
    const count = Math.min(batchLines, lines - sent)
    const bytes = Buffer.from(Array.from({ length: count }, () => sampleLine(`host-${source}`)).join(''))
    await sender.send(`session-svc/host-${source}`, { position: positions[source], bytes }, source % 6)
    positions[source] += count
  }
  await sender.close()
}

function sampleLine(instance: string): string {
  const ids = randomBytes(24).toString('hex')
  const fields = {
    level: 'info',
    time: new Date().toISOString(),
    service: 'session-svc',
    version: '0.1.0',
    instance,
    traceId: ids.slice(0, 32),
    spanId: ids.slice(32),
    event: 'rpc_served',
    rpc: 'session.v1.SessionService/ValidateSession',
    code: 'ok',
    durationMs: Math.round(Math.random() * 500) / 100,
    msg: 'served a call'
  }
  return `${JSON.stringify(fields)}\n`
}

/** @returns lines a second from the first collected line to the last */
async function collect(kafka: Record<string, string>, topic: string, folder: string, lines: number): Promise<number> {
  const opsPort = await findFreePort()
  const { heapOptions } = services.find(({ name }) => name === 'log-sink') as Service
  const child = spawn(process.execPath, [...heapOptions, 'log-sink/server.ts'], {
    env: {
      ...mallocOptions,
      PATH: process.env.PATH,
      ...kafka,
      KAFKA_LOGS_TOPIC: topic,
      LOG_SINK_GROUP: `bench-${randomBytes(4).toString('hex')}`,
      LOG_SINK_DIRECTORY: folder,
      LOG_SINK_OPS_PORT: String(opsPort),
      LOG_SPOOL_DIRECTORY: join(folder, 'spool')
    },
    stdio: ['ignore', 'inherit', 'inherit']
  })
  const exited = once(child, 'exit')
  const written = async () => {
    const page = await fetch(`http://127.0.0.1:${opsPort}/metrics`).then(
      (response) => response.text(),
      () => ''
    )
    return Number(/^log_sink_written_total\{service="session-svc"\} (\d+)/m.exec(page)?.[1] ?? 0)
  }
  let first = 0
  while (first === 0) {
    await sleep(20)
    first = await written()
  }
  const startedAt = performance.now()
  while ((await written()) < lines) await sleep(50)
  const rate = (lines - first) / ((performance.now() - startedAt) / 1000)
  child.kill('SIGTERM')
  await exited
  return rate
}

/** @returns lines a second that `cat` copies, including `sync` */
async function copy(folder: string, lines: number): Promise<number> {
  const files = globSync('**/lines-*', { cwd: folder }).map((file) => join(folder, file))
  const [plain, target] = [join(folder, 'plain'), join(folder, 'copy')]
  await runTool('sh', ['-c', 'plain=$1; shift; zcat -f "$@" >"$plain" && sync "$plain"', 'sh', plain, ...files])
  const startedAt = performance.now()
  await runTool('sh', ['-c', 'cat "$1" >"$2" && sync "$2"', 'sh', plain, target])
  return lines / ((performance.now() - startedAt) / 1000)
}
