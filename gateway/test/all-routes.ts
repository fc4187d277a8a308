/** One request to each route of a gateway, and what it answered. */

import type { Test } from 'tap'
import { type buildGateway, credentials, requireForm } from './gateway.ts'

/** Every route, with its method. */
export const routes = [
  ['POST', '/reg'],
  ['POST', '/auth'],
  ['DELETE', '/logout'],
  ['DELETE', '/delete'],
  ['GET', '/session']
] as const

type App = Awaited<ReturnType<typeof buildGateway>>['app']

/** The statuses of all routes, in their order; each answer is whole, and none repeats what an upstream said. */
export async function statuses(t: Test, app: App, headers: Record<string, string>): Promise<number[]> {
  const seen: number[] = []
  for (const [method, url] of routes) {
    const answer = await app.inject({ method, url, headers, ...(method === 'POST' && { payload: credentials }) })
    requireForm(t, answer, answer.statusCode, url)
    if (answer.statusCode === 503) t.match(answer.headers['retry-after'], /^\d+$/)
    t.notMatch(answer.body, /hunter2/)
    seen.push(answer.statusCode)
  }
  return seen
}
