/** The interface between `make test-security` and its parts. */

import type { Test } from 'tap'

/** A row of the table. */
export interface Row {
  name: string
  /** `skipped`: a tool of the part cannot be installed here. */
  outcome: 'passed' | 'failed' | 'skipped'
  details: string
}

export interface PartOptions {
  t: Pick<Test, 'teardown'>
  print: (line: string) => void
  signal: AbortSignal
  /** Of each kind of response whose time is measured. */
  samples: number
}

/** A part of `make test-security`, on the engines of the test runner. */
export type Part = (options: PartOptions) => Promise<Row[]>
