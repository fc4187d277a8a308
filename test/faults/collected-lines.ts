/** Checks that log-sink has collected each log line of the services once. */

import { setTimeout as sleep } from 'node:timers/promises'
import { collectedLines } from '../support/log-stack.ts'
import type { Ledger } from './ledger.ts'
import type { Testbed } from './testbed.ts'

const collectTimeoutMs = 40_000
/** A killed process can have printed lines in this last time that its disk buffer does not have. */
const unbufferedMs = 250

const directory = ({ product }: Testbed) => product.env.LOG_SINK_DIRECTORY as string

/** Waits until log-sink has collected the lines that the services have printed so far, or until the timeout. */
export async function untilCollected(testbed: Testbed, { journal }: Ledger): Promise<void> {
  const endsAt = Date.now() + collectTimeoutMs
  const expected = expectedLines(testbed)
  const isComplete = () => {
    const counts = collectedCounts(testbed)
    return uncollectedResponses(testbed, journal).length === 0 && expected.every((text) => counts.has(text))
  }
  while (!isComplete() && Date.now() < endsAt) await sleep(500)
}

function uncollectedResponses(testbed: Testbed, journal: Ledger['journal']): string[] {
  const lines = collectedLines(directory(testbed)).filter(({ event }) => event === 'http_request')
  const traces = new Set(lines.map(({ traceId }) => traceId))
  return journal.filter(({ status, traceId }) => status > 0 && !traces.has(traceId)).map(({ traceId }) => traceId)
}

/**
 * Stops the services, and reports responses without a line, duplicate lines, missing lines, and the state of log-sink.
 *
 * @param emptied whether the broker was emptied meanwhile
 */
export async function collectionErrors(testbed: Testbed, ledger: Ledger, emptied: boolean): Promise<string[]> {
  const { product } = testbed
  await untilCollected(testbed, ledger)
  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) await product.stop(name)
  const expected = expectedLines(testbed)
  const endsAt = Date.now() + collectTimeoutMs
  let counts = collectedCounts(testbed)
  while (!expected.every((text) => counts.has(text)) && Date.now() < endsAt) {
    await sleep(500)
    counts = collectedCounts(testbed)
  }
  const metrics = await (await product.ops('log-sink', '/metrics')).text()
  const readiness = await product.ops('log-sink', '/readyz?verbose')
  const unready = readiness.ok ? [] : [`log-sink is not ready: ${await readiness.text()}`]
  await product.stop('log-sink')
  const duplicates = [...counts].filter(([, count]) => count > 1).map(([text]) => text)
  const missing = expected.filter((text) => !counts.has(text))
  return [
    ...unready,
    ...uncollectedResponses(testbed, ledger.journal).map(
      (traceId) => `log-sink has no line of a response (trace ${traceId})`
    ),
    ...duplicates.map((text) => `collected twice: ${text}`),
    ...missing.map((text) => `not collected: ${text}`),
    // With a new topic, log-sink counts the earlier lines as missing.
    ...(emptied || /^log_sink_missing_total 0$/m.test(metrics) ? [] : ['log_sink_missing_total is not 0'])
  ]
}

/** The printed lines, without the last lines of killed processes. */
function expectedLines({ product, killed }: Testbed): string[] {
  const printed = (['gateway', 'user-svc', 'session-svc'] as const).flatMap((name) =>
    printedLines(product.output(name))
  )
  const endedAt = new Map(printed.map(({ line, text }) => [line.instance, timeOf(text)]))
  return printed
    .filter(
      ({ line, text }) => !killed.has(line.instance) || timeOf(text) < (endedAt.get(line.instance) ?? 0) - unbufferedMs
    )
    .map(({ text }) => text)
}

/** How often each line was collected. */
function collectedCounts(testbed: Testbed): Map<string, number> {
  const counts = new Map<string, number>()
  for (const text of collectedLines(directory(testbed)).map((line) => JSON.stringify(line))) {
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
      // log-and-metrics.ts reports text that is no line.
      return []
    }
  })
}

const timeOf = (text: string) => Date.parse(JSON.parse(text).time)
