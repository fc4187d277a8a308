/** Kills and freezes engines, services and a gateway, one or two at a time, by a seed. */

import { setTimeout as sleep } from 'node:timers/promises'
import { planOf, type Step } from '../faults/fault-plan.ts'
import type { Testbed } from '../faults/testbed.ts'
import type { SecondGateway } from './second-gateway.ts'

// Every fourth fault is one of the gateway.
const gatewayEvery = 4

interface FaultSequence {
  testbed: Testbed
  gateway: SecondGateway
  seed: number
  /** Whether the broker is the testbed's own. */
  ownBroker: boolean
  /** Multiplies the pauses between faults. */
  pauseFactor: number
  print: (line: string) => void
}

/** Injects faults until the returned function is called; it resolves to their number when the last one has ended. */
export function startFaults(options: FaultSequence): () => Promise<number> {
  const { testbed, gateway, seed, ownBroker, pauseFactor, print } = options
  const stopped = new AbortController()
  let injected = 0

  async function inject({ faults, lastsMs }: Step): Promise<void> {
    print(`${faults.map(({ target, fault }) => `${target} ${fault}`).join(' and ')} for ${lastsMs} ms`)
    await Promise.all(faults.map(({ target, fault }) => testbed.inject(target, fault)))
    await sleep(lastsMs)
    await Promise.all(faults.map(({ target, fault }) => testbed.heal(target, fault)))
  }

  async function injectAtGateway(isKill: boolean, lastsMs: number): Promise<void> {
    print(`gateway ${isKill ? 'killed' : 'frozen'} for ${lastsMs} ms`)
    if (isKill) await gateway.kill()
    else gateway.freeze()
    await sleep(lastsMs)
    if (isKill) await gateway.start()
    else gateway.thaw()
  }

  async function run(): Promise<number> {
    for (const step of planOf(seed)) {
      await sleep(step.pauseMs * pauseFactor, undefined, { signal: stopped.signal }).catch(() => {})
      if (stopped.signal.aborted) break
      if (!ownBroker && step.faults.some(({ target }) => target === 'kafka')) continue
      injected += 1
      if (injected % gatewayEvery === 0) await injectAtGateway(injected % (2 * gatewayEvery) === 0, step.lastsMs)
      else await inject(step)
      const exits = testbed.exits()
      if (exits.length > 0) throw new Error(exits.join('\n'))
    }
    return injected
  }

  const running = run()
  running.catch(() => {})
  return () => {
    stopped.abort()
    return running
  }
}
