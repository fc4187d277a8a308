/** What is measured, how it is said, and whether it reaches its goal. */

/** One row of the table. */
export interface Measurement {
  what: string
  /** In words, such as `≥ 100,000`. */
  goal: string
  value: string
  /** Nothing where there is no goal. */
  passed: boolean | undefined
  /** What the value was made from. */
  from: string
  /** The figures themselves, for those who go on to compute with them. */
  figures?: unknown
}

/** The middle of some figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** The figure that a share of all figures does not exceed: the 99th percentile at 99. */
export function percentile(figures: readonly number[], percent: number): number {
  const sorted = figures.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** One figure against another, round by round: what slows the machine down for a while is in both. */
export function ratios(of: readonly number[], against: readonly number[]): number[] {
  return of.map((figure, round) => figure / (against[round] ?? Number.NaN))
}

/**
 * How many a second were completed, without the last few, at which not all workers were at work any more: the slope of
 * their number over time by least squares, since workers that keep step complete several at a time.
 */
export function completionRate(completedAtMs: readonly number[], leaveOut: number): number {
  const counted = completedAtMs.toSorted((a, b) => a - b).slice(0, Math.max(0, completedAtMs.length - leaveOut))
  const mean = (figures: readonly number[]) => figures.reduce((sum, each) => sum + each, 0) / figures.length
  const [meanAt, meanNumber] = [mean(counted), mean([...counted.keys()])]
  const along = counted.reduce((sum, at, number) => sum + (at - meanAt) * (number - meanNumber), 0)
  const apart = counted.reduce((sum, at) => sum + (at - meanAt) ** 2, 0)
  return apart > 0 ? (along / apart) * 1000 : 0
}

/** A figure as people read it: `12,345.6`. */
export function figure(value: number, digits = 0): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The middle with the least and the most, as `12,000 (11,500–12,300)`. */
export function spread(figures: readonly number[], digits = 0): string {
  const text = (value: number) => figure(value, digits)
  if (figures.length === 1) return text(median(figures))
  return `${text(median(figures))} (${text(Math.min(...figures))}–${text(Math.max(...figures))})`
}

/**
 * Runs variants in turn, each once a round and every other round backwards, so that a machine
 * that becomes slower or faster meanwhile does so for all of them.
 */
export async function alternate<Name extends string, Result>(
  rounds: number,
  variants: Record<Name, () => Promise<Result>>
): Promise<Record<Name, Result[]>> {
  const names = Object.keys(variants) as Name[]
  const results = Object.fromEntries(names.map((name) => [name, [] as Result[]])) as Record<Name, Result[]>
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) results[name].push(await variants[name]())
  }
  return results
}

/** The rows as an aligned table. */
export function table(rows: readonly Measurement[]): string {
  const cells = rows.map(({ what, goal, value, passed, from }) => [
    what,
    goal,
    value,
    passed === undefined ? '' : passed ? 'pass' : 'FAIL',
    from
  ])
  const all = [['what', 'goal', 'value', '', 'from'], ...cells]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()
    )
    .join('\n')
}
