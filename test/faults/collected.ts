/** Every log line that was written is collected once. */

import { setTimeout as sleep } from 'node:timers/promises'
import { collectedLines } from '../support/log-stack.ts'
import type { Laboratory } from './laboratory.ts'
import type { Ledger } from './ledger.ts'

const collectWithinMs = 40_000
// What a killed process had printed in its last turn of the event loop need not be in its disk buffer yet.
const lastTurnMs = 250

const directory = ({ product }: Laboratory) => product.env.LOG_SINK_DIRECTORY as string

/** Waits until the sink has what the services have printed so far; resolves also if it does not get that. */
export async function untilCollected(laboratory: Laboratory, { journal }: Ledger): Promise<void> {
  const endsAt = Date.now() + collectWithinMs
  const needed = neededLines(laboratory)
  const isComplete = () => {
    const counts = collectedCounts(laboratory)
    return missingAnswers(laboratory, journal).length === 0 && needed.every((text) => counts.has(text))
  }
  while (!isComplete() && Date.now() < endsAt) await sleep(500)
}

function missingAnswers(laboratory: Laboratory, journal: Ledger['journal']): string[] {
  const lines = collectedLines(directory(laboratory)).filter(({ event }) => event === 'http_request')
  const traces = new Set(lines.map(({ traceId }) => traceId))
  return journal.filter(({ status, traceId }) => status > 0 && !traces.has(traceId)).map(({ traceId }) => traceId)
}

/**
 * Says which answers have no line, which lines are there twice, which lines that were printed are not there, and what
 * the sink says of itself.
 *
 * @param emptied whether the broker has lost its topics meanwhile
 */
export async function collectionFaults(laboratory: Laboratory, ledger: Ledger, emptied: boolean): Promise<string[]> {
  const { product } = laboratory
  await untilCollected(laboratory, ledger)
  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) await product.stop(name)
  const needed = neededLines(laboratory)
  const endsAt = Date.now() + collectWithinMs
  let counts = collectedCounts(laboratory)
  while (!needed.every((text) => counts.has(text)) && Date.now() < endsAt) {
    await sleep(500)
    counts = collectedCounts(laboratory)
  }
  const metrics = await (await product.ops('log-sink', '/metrics')).text()
  const readiness = await product.ops('log-sink', '/readyz?verbose')
  const unready = readiness.ok ? [] : [`the sink is not ready: ${await readiness.text()}`]
  await product.stop('log-sink')
  const twice = [...counts].filter(([, count]) => count > 1).map(([text]) => text)
  const missing = needed.filter((text) => !counts.has(text))
  return [
    ...unready,
    ...missingAnswers(laboratory, ledger.journal).map(
      (traceId) => `no line of an answer is collected (trace ${traceId})`
    ),
    ...twice.map((text) => `collected twice: ${text}`),
    ...missing.map((text) => `not collected: ${text}`),
    // A sink that begins with a new topic takes what came before for missing.
    ...(emptied || /^log_sink_missing_total 0$/m.test(metrics) ? [] : ['the sink counts missing lines'])
  ]
}

/** What the services have printed, but for the last of those that were killed. */
function neededLines({ product, killed }: Laboratory): string[] {
  const printed = (['gateway', 'user-svc', 'session-svc'] as const).flatMap((name) =>
    printedLines(product.output(name))
  )
  const endedAt = new Map(printed.map(({ line, text }) => [line.instance, timeOf(text)]))
  return printed
    .filter(
      ({ line, text }) => !killed.has(line.instance) || timeOf(text) < (endedAt.get(line.instance) ?? 0) - lastTurnMs
    )
    .map(({ text }) => text)
}

/** How often each line is there. */
function collectedCounts(laboratory: Laboratory): Map<string, number> {
  const counts = new Map<string, number>()
  for (const text of collectedLines(directory(laboratory)).map((line) => JSON.stringify(line))) {
    counts.set(text, (counts.get(text) ?? 0) + 1)
  }
  return counts
}

function printedLines(output: string): { text: string; line: { instance: string } }[] {
  return output.split('\n').flatMap((text) => {
    try {
      const line = JSON.parse(text)
      return [{ text: JSON.stringify(line), line }]
    } catch {
      // What is no line has been said elsewhere.
      return []
    }
  })
}

const timeOf = (text: string) => Date.parse(JSON.parse(text).time)
