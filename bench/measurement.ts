/** The rows of the table, and the statistics for them. */

/** One row of the table. */
export interface Measurement {
  name: string
  /** For example `≥ 100,000`; empty without a goal. */
  goal: string
  value: string
  /** Undefined without a goal. */
  passed: boolean | undefined
  details: string
  /** Raw figures, for latest.json. */
  figures?: unknown
}

export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** The figure that `percent` of the figures do not exceed. */
export function percentile(figures: readonly number[], percent: number): number {
  const sorted = figures.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** The probability that a figure of `of` exceeds one of `against` (the area under the ROC curve); 0.5: they cannot be told apart. */
export function separability(of: readonly number[], against: readonly number[]): number {
  const all = [
    ...of.map((value) => ({ value, isFirst: true })),
    ...against.map((value) => ({ value, isFirst: false }))
  ].sort((a, b) => a.value - b.value)
  let rankSum = 0
  for (let from = 0; from < all.length; ) {
    let to = from
    while (to < all.length && all[to]?.value === all[from]?.value) to += 1
    const rank = (from + 1 + to) / 2
    for (let index = from; index < to; index += 1) if (all[index]?.isFirst) rankSum += rank
    from = to
  }
  return (rankSum - (of.length * (of.length + 1)) / 2) / (of.length * against.length)
}

/** Ratios by round: a slow phase of the machine affects both figures. */
export function ratios(of: readonly number[], against: readonly number[]): number[] {
  return of.map((figure, round) => figure / (against[round] ?? Number.NaN))
}

/**
 * Completions a second: the slope of their number over time by least squares, because workers in step complete several at
 * once. The last `leaveOut` completions do not count: some workers had stopped by then.
 */
export function completionRate(completedAtMs: readonly number[], leaveOut: number): number {
  const counted = completedAtMs.toSorted((a, b) => a - b).slice(0, Math.max(0, completedAtMs.length - leaveOut))
  const mean = (figures: readonly number[]) => figures.reduce((sum, each) => sum + each, 0) / figures.length
  const [meanAt, meanNumber] = [mean(counted), mean([...counted.keys()])]
  const along = counted.reduce((sum, at, number) => sum + (at - meanAt) * (number - meanNumber), 0)
  const apart = counted.reduce((sum, at) => sum + (at - meanAt) ** 2, 0)
  return apart > 0 ? (along / apart) * 1000 : 0
}

/** Formats a figure: `12,345.6`. */
export function figure(value: number, digits = 0): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The median with minimum and maximum: `12,000 (11,500–12,300)`. */
export function spread(figures: readonly number[], digits = 0): string {
  const text = (value: number) => figure(value, digits)
  if (figures.length === 1) return text(median(figures))
  return `${text(median(figures))} (${text(Math.min(...figures))}–${text(Math.max(...figures))})`
}

/**
 * Runs each variant once a round, every other round in reverse order, so that a change of the machine's speed affects all
 * variants.
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
  const cells = rows.map(({ name, goal, value, passed, details }) => [
    name,
    goal,
    value,
    passed === undefined ? '' : passed ? 'pass' : 'FAIL',
    details
  ])
  const all = [['row', 'goal', 'value', '', 'details'], ...cells]
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
