/** RPCs in a loop, with a credential that changes. */

import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'

/** Calls in a loop with the present credential, until `end`. */
export function keepCalling(t: Test, credential: string, create: (credential: string) => () => Promise<unknown>) {
  let send = create(credential)
  let isOver = false
  let count = 0
  const failures: unknown[] = []
  async function run(): Promise<void> {
    while (!isOver) {
      await send().catch((error) => failures.push(error))
      count += 1
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  const running = run()
  t.teardown(() => {
    isOver = true
  })
  return {
    change(next: string): void {
      send = create(next)
    },
    async end(): Promise<void> {
      isOver = true
      await running
      t.same(failures, [], `each of ${count} calls succeeded`)
    }
  }
}

export function transportTo(name: string, urls: string[], token: string) {
  const rpc = { token, ownToken: '', maxMessageBytes: 65_536, maxTimeout: 10_000 }
  return createRpcTransport({ name, urls, rpc }, rpcClientMetrics(new Registry()))
}

/** A call after a health check, so that it goes to an instance that serves: an instance that starts is not ready yet. */
export function withHealth(
  transport: ReturnType<typeof transportTo>,
  send: () => Promise<unknown>
): () => Promise<unknown> {
  const probe = probeHealth(transport)
  return async () => {
    await probe()
    await send()
  }
}
