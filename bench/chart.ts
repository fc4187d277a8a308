/** Draws lines over two axes as an SVG that needs nothing beside itself. */

import { createScale, type ScaleKind } from './scale.ts'

/** What is drawn. */
export interface LineChart {
  title: string
  subtitle: string
  x: Axis
  y: Axis
  series: { name: string; points: readonly (readonly [x: number, y: number])[] }[]
  /** A line across the chart, such as a goal. */
  marks?: { axis: 'x' | 'y'; at: number; text: string }[]
}

interface Axis {
  label: string
  scale: ScaleKind
  /** A value that is to be seen, too. */
  from?: number
}

const [width, height] = [960, 540]
const plot = { left: 84, top: 84, right: width - 224, bottom: height - 66 }
// Told apart by people who see colours differently, too (Okabe and Ito).
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']
const labelHeight = 17

/** The chart as an SVG document. */
export function lineChart({ title, subtitle, x, y, series, marks = [] }: LineChart): string {
  const values = (axis: 'x' | 'y') => [
    ...series.flatMap(({ points }) => points.map((point) => point[axis === 'x' ? 0 : 1])),
    ...marks.filter((mark) => mark.axis === axis).map(({ at }) => at)
  ]
  const xScale = createScale(x.scale, values('x'), x.from)
  const yScale = createScale(y.scale, values('y'), y.from)
  const xAt = (value: number) => round(plot.left + xScale.at(value) * (plot.right - plot.left))
  const yAt = (value: number) => round(plot.bottom - yScale.at(value) * (plot.bottom - plot.top))

  const grid = [
    ...xScale.ticks.map(({ value, text }) => {
      const at = xAt(value)
      return `${line(at, plot.top, at, plot.bottom, 'grid')}${words(at, plot.bottom + 20, text, 'tick', 'middle')}`
    }),
    ...yScale.ticks.map(({ value, text }) => {
      const at = yAt(value)
      return `${line(plot.left, at, plot.right, at, 'grid')}${words(plot.left - 10, at + 4, text, 'tick', 'end')}`
    })
  ]
  const goals = marks.map(({ axis, at, text }) =>
    axis === 'x'
      ? `${line(xAt(at), plot.top, xAt(at), plot.bottom, 'mark')}${words(xAt(at) + 6, plot.top + 14, text, 'marked', 'start')}`
      : `${line(plot.left, yAt(at), plot.right, yAt(at), 'mark')}${words(plot.left + 8, yAt(at) - 6, text, 'marked', 'start')}`
  )
  const ends = apart(series.map(({ points }) => yAt(points.at(-1)?.[1] ?? 0)))
  const lines = series.map(({ name, points }, index) => {
    const colour = colours[index % colours.length] as string
    const path = points.map((point) => `${xAt(point[0])},${yAt(point[1])}`).join(' ')
    const dots = points.map((point) => `<circle cx="${xAt(point[0])}" cy="${yAt(point[1])}" r="2.5" fill="${colour}"/>`)
    const [lastX, lastY, labelY] = [xAt(points.at(-1)?.[0] ?? 0), yAt(points.at(-1)?.[1] ?? 0), ends[index] as number]
    const lead = `<polyline points="${lastX},${lastY} ${plot.right + 10},${labelY}" stroke="${colour}" class="lead"/>`
    const label = `<text x="${plot.right + 14}" y="${labelY + 4}" class="name" fill="${colour}">${escaped(name)}</text>`
    return `<polyline points="${path}" stroke="${colour}" class="line"/>${dots.join('')}${lead}${label}`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif">
<title>${escaped(title)}</title>
<style>
.grid{stroke:#e3e6ea;stroke-width:1}.mark{stroke:#333;stroke-width:1.2;stroke-dasharray:5 4}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.lead{fill:none;stroke-width:1;stroke-dasharray:2 3}
.title{font-size:19px;font-weight:600;fill:#111}.subtitle{font-size:13px;fill:#555}.axis{font-size:13px;fill:#333}
.tick{font-size:12px;fill:#555}.marked{font-size:12px;fill:#333;paint-order:stroke;stroke:#fff;stroke-width:4}.name{font-size:13px;font-weight:600}
</style>
<rect width="${width}" height="${height}" fill="#fff"/>
${words(plot.left, 34, title, 'title', 'start')}
${words(plot.left, 56, subtitle, 'subtitle', 'start')}
${grid.join('\n')}
${lines.join('\n')}
${goals.join('\n')}
${words((plot.left + plot.right) / 2, height - 20, x.label, 'axis', 'middle')}
<text transform="translate(24 ${(plot.top + plot.bottom) / 2}) rotate(-90)" text-anchor="middle" class="axis">${escaped(y.label)}</text>
</svg>
`
}

/** The same heights, moved until labels at them do not overlap. */
function apart(heights: number[]): number[] {
  const order = heights.map((at, index) => ({ at, index })).sort((a, b) => a.at - b.at)
  const placed: number[] = []
  let lowest = plot.top
  for (const { at, index } of order) {
    placed[index] = Math.max(at, lowest)
    lowest = (placed[index] as number) + labelHeight
  }
  const over = Math.max(0, lowest - labelHeight - plot.bottom)
  return placed.map((at) => at - over)
}

function line(x1: number, y1: number, x2: number, y2: number, className: string): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" class="${className}"/>`
}

function words(x: number, y: number, text: string, className: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" class="${className}">${escaped(text)}</text>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
