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
}

/** The middle of some figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

/** The middle with the least and the most, as `12,000 (11,500–12,300)`. */
export function spread(figures: readonly number[], digits = 0): string {
  const text = (figure: number) =>
    figure.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return `${text(median(figures))} (${text(Math.min(...figures))}–${text(Math.max(...figures))})`
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
