/** A load by autocannon, with the arguments and the answer of wrk.lua: URL, connections, seconds, file of tokens, pause in ms. */

import { readFileSync } from 'node:fs'
import autocannon from 'autocannon'

const [url = '', connections, seconds, file = '', pauseMs] = process.argv.slice(2)
const tokens = readFileSync(file, 'utf8').split('\n').filter(Boolean)
const requests = tokens.map((token) => ({ headers: { authorization: `Bearer ${token}` } }))
const overallRate = Number(pauseMs) > 0 ? { overallRate: (Number(connections) * 1000) / Number(pauseMs) } : {}
const result = await autocannon({
  url,
  connections: Number(connections),
  duration: Number(seconds),
  ...(requests.length > 0 && { requests }),
  ...overallRate
})
const { latency } = result as { latency: unknown } as { latency: Record<string, number> }
const named = Object.entries(latency).map(([name, ms]) => [/^p([\d_]+)$/.exec(name)?.[1]?.replace('_', '.') ?? '', ms])
const { statusCodeStats = {} } = result as unknown as { statusCodeStats?: Record<string, { count: number }> }
const statuses = Object.fromEntries(Object.entries(statusCodeStats).map(([status, { count }]) => [status, count]))
const answers = {
  requests: Object.values(statuses).reduce((sum, count) => sum + count, 0),
  seconds: result.duration,
  refused: result['4xx'] + result['5xx'],
  unanswered: result.errors,
  latenciesMs: { ...Object.fromEntries(named.filter(([name]) => name !== '')), 100: result.latency.max },
  statuses
}
console.log(JSON.stringify(answers))
