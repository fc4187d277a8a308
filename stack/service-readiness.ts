/** Waits until the services that `make run` started are ready. */

import { once } from 'node:events'
import http from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Print } from './supervisor.ts'

/** A service and the address of its ops port. */
interface OpsAddress {
  name: string
  authority: string
}

const pollMs = 50
const requestTimeoutMs = 3000
const reportIntervalMs = 60_000
// log-sink joins its group within seconds once Kafka answers. A longer wait has another cause.
const sinkGraceMs = 20_000

/** Resolves when a service is ready, without a time limit; prints once a minute why it is not. */
export async function untilReady({ name, authority }: OpsAddress, print: Print, signal: AbortSignal): Promise<void> {
  let reportAt = performance.now() + reportIntervalMs
  while (!(await get(`http://${authority}/readyz`)).ok) {
    signal.throwIfAborted()
    if (performance.now() > reportAt) {
      print(`${name} is not ready yet: ${await whyNotReady(authority)}`)
      reportAt += reportIntervalMs
    }
    await sleep(pollMs, undefined, { signal })
  }
}

/** Resolves when log-sink is ready, or when the run continues without it: the product works while the logs stay on disk. */
export async function untilSinkReady(
  sink: OpsAddress,
  kafkaReady: Promise<void>,
  print: Print,
  signal: AbortSignal
): Promise<void> {
  const settled = new AbortController()
  const either = AbortSignal.any([signal, settled.signal])
  const outcomes = [untilReady(sink, print, either), giveUp()]
  // `settled` aborts the outcome that is no longer needed.
  for (const outcome of outcomes) outcome.catch(() => {})
  await Promise.race(outcomes)
  settled.abort()

  async function giveUp(): Promise<void> {
    try {
      await kafkaReady
    } catch (error) {
      if (!signal.aborted) print(`kafka does not answer: ${(error as Error).message}. The logs stay on disk`)
      return
    }
    await sleep(sinkGraceMs, undefined, { signal: either })
    print(`${sink.name} is not ready: ${await whyNotReady(sink.authority)}. The logs stay on disk`)
  }
}

/** The failed readiness checks of a service, on one line. */
export async function whyNotReady(authority: string): Promise<string> {
  const { text } = await get(`http://${authority}/readyz?verbose`)
  return text.trim().replaceAll('\n', '; ')
}

/** With an agent of its own: under `NODE_USE_ENV_PROXY`, `fetch` and the global agent send loopback requests to a proxy. */
async function get(url: string): Promise<{ ok: boolean; text: string }> {
  try {
    const request = http.get(url, { agent: new http.Agent(), signal: AbortSignal.timeout(requestTimeoutMs) })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return { ok: response.statusCode === 200, text: await text(response) }
  } catch {
    return { ok: false, text: 'no response from its ops port' }
  }
}
