/** The interface between `make test-security` and its parts. */

import type { Test } from 'tap'

/** A row of the table. */
export interface Row {
  name: string
  /** `skipped`: a tool of the part cannot be installed here. */
  outcome: 'passed' | 'failed' | 'skipped'
  details: string
}

/** How response times are measured: one request at a time, or the requests of all routes at the same time. */
export const conditions = ['alone', 'loaded'] as const
export type Condition = (typeof conditions)[number]

export interface PartOptions {
  t: Pick<Test, 'teardown'>
  print: (line: string) => void
  signal: AbortSignal
  /** Of each kind of response whose time is measured. */
  samples: number
  /** Of the response times. */
  conditions: readonly Condition[]
}

/** A part of `make test-security`, on the engines of the test runner. */
export type Part = (options: PartOptions) => Promise<Row[]>
