/** Requests to all routes at a steady rate during a fault, and their responses. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { type Answer, newAddress, password } from './product.ts'

type Call = (method: string, path: string, options?: { token?: string; json?: unknown }) => Promise<Answer>

export interface Outcome {
  route: string
  /** 0: the connection broke before a response. */
  status: number
  startedAt: number
  endedAt: number
}

/**
 * Sends `perSecond` requests a second, whether or not earlier ones are answered, until `end` is called.
 *
 * @param sessionChecks requests of `GET /session` beside each login and each registration
 */
export async function startTraffic(t: Pick<Test, 'teardown'>, call: Call, perSecond = 20, sessionChecks = 1) {
  const email = newAddress()
  await call('POST', '/reg', { json: { email, password } })
  // Of another account: logins beyond the maximum of sessions end the oldest sessions.
  const { body } = await call('POST', '/reg', { json: { email: newAddress(), password } })
  const token = body.session.token as string
  const outcomes: Outcome[] = []
  const pending = new Set<Promise<unknown>>()
  let isOver = false

  async function timed(method: string, path: string, options: Parameters<Call>[2]): Promise<Answer | undefined> {
    const startedAt = performance.now()
    const answer = await call(method, path, options).catch(() => undefined)
    const route = `${method} ${path}`
    outcomes.push({ route, status: answer?.status ?? 0, startedAt, endedAt: performance.now() })
    return answer
  }

  /** A registration, then a deletion or a logout. */
  async function visit(): Promise<void> {
    const answer = await timed('POST', '/reg', { json: { email: newAddress(), password } })
    const token = answer?.status === 201 ? (answer.body.session.token as string) : undefined
    if (token !== undefined) await timed('DELETE', Math.random() < 0.5 ? '/delete' : '/logout', { token })
  }

  const checks = Array.from({ length: sessionChecks }, () => () => timed('GET', '/session', { token }))
  const kinds = [...checks, () => timed('POST', '/auth', { json: { email, password } }), ...checks, visit]

  async function run(): Promise<void> {
    for (let turn = 0; !isOver; turn += 1) {
      const work: Promise<unknown> = (kinds[turn % kinds.length] as () => Promise<unknown>)()
      pending.add(work)
      void work.finally(() => pending.delete(work))
      await sleep(1000 / perSecond)
    }
    await Promise.all(pending)
  }

  const running = run()
  t.teardown(() => {
    isOver = true
  })
  return {
    /** Waits until requests to these routes that start from now on have succeeded. @returns milliseconds */
    async untilServed(...routes: string[]): Promise<number> {
      const from = performance.now()
      const successes = () =>
        routes.map((route) =>
          outcomes.find(
            (each) => each.route === route && each.startedAt >= from && each.status < 300 && each.status > 0
          )
        )
      await until(`${routes} succeed`, () => successes().every((each) => each !== undefined), 30_000)
      return Math.round(Math.max(...successes().map((each) => (each as Outcome).endedAt)) - from)
    },
    /** Stops sending and waits for all responses. */
    async end(): Promise<Outcome[]> {
      isOver = true
      await running
      return outcomes
    }
  }
}

/** The number of responses by route and status, for a comment. */
export function summary(outcomes: Outcome[]): string {
  const counts = new Map<string, number>()
  for (const { route, status } of outcomes) {
    const key = `${route} ${status}`
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  return [...counts]
    .toSorted()
    .map(([key, count]) => `${key}: ${count}`)
    .join(', ')
}

/** The longest duration of nine tenths of the responses of a route, and of all. */
export function durationsMs(outcomes: Outcome[], route: string): { most: number; all: number } {
  const took = outcomes
    .filter((each) => each.route === route)
    .map(({ startedAt, endedAt }) => Math.round(endedAt - startedAt))
    .sort((a, b) => a - b)
  return { most: took[Math.ceil(took.length * 0.9) - 1] ?? 0, all: took.at(-1) ?? 0 }
}
