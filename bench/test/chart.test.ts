/** Charts show every value where it belongs, labels apart from each other. */

import t from 'tap'
import { type LineChart, lineChart } from '../chart.ts'
import { createScale } from '../scale.ts'

const texts = (kind: Parameters<typeof createScale>[0], values: number[], from?: number) =>
  createScale(kind, values, from).ticks.map(({ text }) => text)

t.test('a linear axis begins and ends at round numbers', async (t) => {
  t.same(texts('linear', [13, 87]), ['0', '20', '40', '60', '80', '100'])
  t.same(texts('linear', [90, 104], 0), ['0', '50', '100', '150'])
  t.same(texts('linear', [0.1, 0.3]), ['0.1', '0.15', '0.2', '0.25', '0.3'])
  t.same(texts('linear', [5, 5]).length > 1, true, 'even when there is only one value')
})

t.test('a logarithmic axis has each power of ten, and steps between when they are few', async (t) => {
  t.same(texts('log', [10_000, 1_000_000]), [
    '10,000',
    '20,000',
    '50,000',
    '100,000',
    '200,000',
    '500,000',
    '1,000,000'
  ])
  t.same(texts('log', [1.3, 40_000]), ['1', '10', '100', '1,000', '10,000', '100,000'])
  t.same(texts('log', [3, 3]), ['2', '5'])
})

t.test('an axis of percentiles gives each nine the same width', async (t) => {
  const scale = createScale('percentile', [1, 50, 99.9])
  t.same(
    scale.ticks.map(({ text }) => text),
    ['0', '50', '90', '99', '99.9']
  )
  t.equal(scale.at(90).toFixed(6), (1 / 3).toFixed(6))
  t.equal(scale.at(99).toFixed(6), (2 / 3).toFixed(6))
})

const chart: LineChart = {
  title: 'Latency <of> "this" & that',
  subtitle: '',
  x: { label: 'percentile', scale: 'percentile' },
  y: { label: 'ms', scale: 'log' },
  series: ['one', 'two', 'three'].map((name) => ({
    name,
    points: [1, 50, 99].map((percent) => [percent, 4] as const)
  })),
  marks: [{ axis: 'y', at: 25, text: 'goal' }]
}

t.test('labels of lines that end at the same place do not overlap', async (t) => {
  const heights = [...lineChart(chart).matchAll(/<text x="[\d.]+" y="([\d.]+)" class="name"/g)].map(([, y]) =>
    Number(y)
  )
  t.equal(heights.length, 3)
  for (const [index, height] of heights.slice(1).entries()) t.ok(height - (heights[index] as number) >= 15)
})

t.test('what is drawn lies inside the chart, marks included, and no text breaks the document', async (t) => {
  const svg = lineChart(chart)
  t.match(svg, 'Latency &lt;of> &quot;this&quot; &amp; that')
  const coordinates = [...svg.matchAll(/ (?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"/g)].map(([, at]) => Number(at))
  t.ok(coordinates.every((at) => at >= 0 && at <= 960))
  t.notMatch(svg, /NaN|Infinity/)
})
