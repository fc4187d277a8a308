/** Simulated services and sinks: lines of two sources move from the spool to collected files, at random. */

import { rmSync } from 'node:fs'
import { type LogFolder, lineAt } from './log-folder.ts'

interface Source {
  name: string
  partition: number
  lines: string[]
  segments: { first: number; path: string }[]
  shipped: number
  file: number
}

const random = (below: number) => Math.floor(Math.random() * below)

/** Sources whose segments are removed when they are shipped, and whose collected files are rotated and compressed. */
export function createTraffic(folder: LogFolder) {
  const written: string[] = []
  const sources = ['gateway/host-1', 'user-svc/host-2'].map(
    (name, partition): Source => ({ name, partition, lines: [], segments: [], shipped: 0, file: 0 })
  )
  let steps = 0

  function ship(source = sources[random(2)] as Source): void {
    const { name: _, lines, partition, segments } = source
    const end = Math.min(lines.length, source.shipped + random(8))
    const path = folder.collect(`sink/${partition}/${source.file}`, ...lines.slice(source.shipped, end))
    source.shipped = end
    while ((segments[1]?.first ?? Number.POSITIVE_INFINITY) <= end + 1) rmSync(segments.shift()?.path as string)
    if (random(20) > 0) return
    folder.compress(path)
    source.file += 1
  }

  function step(): void {
    const source = sources[random(2)] as Source
    const { name, lines, segments } = source
    for (let count = random(4); count > 0; count--) {
      steps += 1
      if (segments.length === 0 || random(20) === 0) segments.push({ first: lines.length + 1, path: '' })
      const segment = segments.at(-1) as Source['segments'][number]
      const line = lineAt(steps % 50, { count: steps })
      segment.path = folder.write(name, segment.first, line)
      lines.push(line)
      written.push(line)
    }
    if (random(3) > 0) ship(source)
  }

  return { written, step, ship }
}
