/** @fastify/under-pressure: sheds requests while the event loop of the gateway itself is overloaded. */

import underPressure from '@fastify/under-pressure'
import { Counter, type Registry } from '@prometheus-io/client'
import type { FastifyInstance } from 'fastify'
import { overloaded } from '#common/errors/connect-errors.ts'

/**
 * Requests get 503 while the mean delay of the event loop in the last interval was above this: the budget of `GET /session`, the
 * shortest of all. Above it, no validation is answered in time.
 */
const maxEventLoopDelayMs = 1000
/** Longer than the default of 1 s: the plugin reports an infinite delay for an interval without a sample, such as a pause. */
const sampleIntervalMs = 5000

export async function shedUnderPressure(app: FastifyInstance, registry: Registry): Promise<void> {
  const shed = new Counter({
    name: 'auth_shed_total',
    help: 'Requests rejected because the gateway is overloaded, by reason',
    labelNames: ['reason'],
    registers: [registry]
  })
  shed.inc({ reason: 'event_loop' }, 0)
  let measuredFrom = 0
  // The plugin uses the delay of an interval until the end of the next one. The start compiles all schemas in one turn: on a busy
  // machine, its delay would reject the first requests of a ready gateway. The price: nothing is shed in the first ten seconds.
  app.addHook('onListen', async () => {
    measuredFrom = performance.now() + 2 * sampleIntervalMs
  })
  await app.register(underPressure, {
    maxEventLoopDelay: maxEventLoopDelayMs,
    sampleInterval: sampleIntervalMs,
    exposeStatusRoute: false,
    pressureHandler: async () => {
      if (performance.now() < measuredFrom) return
      shed.inc({ reason: 'event_loop' })
      throw overloaded(sampleIntervalMs / 1000)
    }
  })
}
