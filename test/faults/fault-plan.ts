/** A plan of random faults, one or two at a time; a seed always gives the same plan. */

import type { Fault, Target } from './targets.ts'

/** Concurrent faults, and the pause without a fault after them. */
export interface Step {
  faults: { target: Target; fault: Fault }[]
  lastsMs: number
  pauseMs: number
}

type Random = () => number

/** From 0 to 1, by mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const common: Fault[] = ['killed', 'frozen', 'slow', 'resetting', 'unresponsive']
const possible: [Target, Fault][] = [
  ...(['postgres', 'redis', 'user-svc', 'session-svc'] as const).flatMap((target) =>
    common.map((fault) => [target, fault] as [Target, Fault])
  ),
  ['postgres', 'backends killed'],
  ['kafka', 'killed'],
  ['kafka', 'frozen'],
  ['kafka', 'resetting']
]
const twoAtOnce = 0.25
const [shortestMs, longestMs] = [200, 4000]
const [shortestPauseMs, longestPauseMs] = [500, 2000]

/** The plan never ends. */
export function* planOf(seed: number): Generator<Step> {
  const random = createRandom(seed)
  const between = (low: number, high: number) => Math.round(low + random() * (high - low))
  const choose = (choices: [Target, Fault][]) => choices[Math.floor(random() * choices.length)] as [Target, Fault]
  for (;;) {
    const first = choose(possible)
    const second = random() < twoAtOnce ? [choose(possible.filter(([target]) => target !== first[0]))] : []
    yield {
      faults: [first, ...second].map(([target, fault]) => ({ target, fault })),
      lastsMs: between(shortestMs, longestMs),
      pauseMs: between(shortestPauseMs, longestPauseMs)
    }
  }
}
