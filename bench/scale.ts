/** The scales of a chart: where a value lies on an axis, and where it is labelled. */

/** How an axis is divided: `percentile` gives each further nine the same width, 90, 99, 99.9. */
export type ScaleKind = 'linear' | 'log' | 'percentile'

/** An axis from 0, its start, to 1, its end. */
interface Scale {
  at(value: number): number
  ticks: { value: number; text: string }[]
}

const nines = (percent: number) => -Math.log10(1 - percent / 100)

/** The scale that has room for all values; `from` widens it. */
export function createScale(kind: ScaleKind, values: readonly number[], from?: number): Scale {
  const all = from === undefined ? values : [...values, from]
  const [least, most] = [Math.min(...all), Math.max(...all)]
  switch (kind) {
    case 'linear':
      return between((value) => value, linearTicks(least, most))
    case 'log':
      return between(Math.log10, logTicks(least, most))
    case 'percentile': {
      const wanted = [0, 50, 90, 99, 99.9, 99.99, 99.999]
      const end = wanted.findIndex((percent) => percent >= most)
      return between(nines, wanted.slice(0, end === -1 ? wanted.length : end + 1))
    }
  }
}

/** The ticks, of which the first and the last are the ends of the axis. */
function between(project: (value: number) => number, ticks: number[]): Scale {
  const [first, last] = [project(ticks[0] as number), project(ticks.at(-1) as number)]
  return {
    at: (value) => (project(value) - first) / (last - first || 1),
    ticks: ticks.map((value) => ({ value, text: value.toLocaleString('en-US', { maximumFractionDigits: 6 }) }))
  }
}

/** Four to ten round numbers around the values. */
function linearTicks(least: number, most: number): number[] {
  const rough = (most - least || Math.abs(most) || 1) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((each) => each * power >= rough) ?? 10)
  const [first, last] = [Math.floor(least / step), Math.ceil(most / step)]
  return Array.from({ length: Math.max(last - first, 1) + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12))
  )
}

/** Powers of ten around the values, and 2 and 5 times them where these are few. */
function logTicks(least: number, most: number): number[] {
  const [first, last] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]
  const factors = last - first > 3 ? [1] : [1, 2, 5]
  const ticks = Array.from({ length: Math.max(last - first, 1) + 1 }, (_, index) => first + index).flatMap((power) =>
    factors.map((factor) => Number(`${factor}e${power}`))
  )
  const start = ticks.findLastIndex((tick) => tick <= least)
  const end = ticks.findIndex((tick) => tick >= most)
  return ticks.slice(Math.max(start, 0), Math.max(end, start + 1) + 1)
}
