/** A load by autocannon, with the arguments and the answer of wrk.lua: URL, connections, seconds, file of tokens, pause in ms. */

import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

/** What is missing in its types. */
interface Result {
  duration: number
  errors: number
  '4xx': number
  '5xx': number
  latency: Record<string, number>
  statusCodeStats: Record<string, { count: number }>
}

const [url = '', connections, seconds, file = '', pauseMs] = process.argv.slice(2)
const tokens = readFileSync(file, 'utf8').split('\n').filter(Boolean)
const requests = tokens.map((token) => ({ headers: { authorization: `Bearer ${token}` } }))
const result = (await autocannon({
  url,
  connections: Number(connections),
  duration: Number(seconds),
  ...(requests.length > 0 && { requests }),
  ...(Number(pauseMs) > 0 && { overallRate: (Number(connections) * 1000) / Number(pauseMs) })
})) as unknown as Result

const { latency, statusCodeStats } = result
// `p97_5` is the percentile 97.5.
const latencies = Object.entries(latency).flatMap(([name, ms]) => {
  const [, percent] = /^p([\d_]+)$/.exec(name) ?? []
  return percent === undefined ? [] : [[percent.replace('_', '.'), ms] as const]
})
const statuses = Object.entries(statusCodeStats).map(([status, { count }]) => [status, count] as const)
const answer = {
  requests: statuses.reduce((sum, [, count]) => sum + count, 0),
  seconds: result.duration,
  refused: result['4xx'] + result['5xx'],
  unanswered: result.errors,
  latenciesMs: { ...Object.fromEntries(latencies), 100: latency.max },
  statuses: Object.fromEntries(statuses)
}
console.log(JSON.stringify(answer))
