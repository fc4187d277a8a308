/** A service with a dependency of its own, for the test of crashes: `/throw`, `/reject` and `/twice` crash it, `/slow` and `/stuck` are in progress meanwhile. */

import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { createOpsServer } from '#common/ops/ops-server.ts'
import { ProbeError } from '#common/ops/probe.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { runService } from '#common/process/lifecycle.ts'

const [directory = '', timeoutMs = '0'] = process.argv.slice(2)
const config = {
  log: { level: 'info', stdout: 'info', spool: { directory, maxBytes: 2 ** 24 } },
  kafka: { enabled: false, brokers: [], compression: 'zstd' as const, logs: { topic: 'logs' } },
  shutdown: { timeout: Number(timeoutMs), drainDelay: 0 }
}
const slowMs = 500

function crash(path = ''): void {
  const error = new Error(`crashed by ${path}`)
  if (path === '/reject') void Promise.reject(error)
  else throw error
}

await runService(
  'crashing',
  () => config,
  (_config, { log, registry }) => {
    let isOpen = true
    async function probe(): Promise<void> {
      if (!isOpen) throw new ProbeError('closed')
    }
    const readiness = watchReadiness([{ name: 'store', required: 'always', probe }], log, registry)
    /** As a driver whose connection ends. */
    async function closeStore(): Promise<void> {
      isOpen = false
      readiness.probeNow()
      await sleep(10)
    }
    const server = createServer(async ({ url }, response) => {
      if (url === '/slow') {
        response.flushHeaders()
        await sleep(slowMs)
        response.end('served')
      } else if (url !== '/stuck') {
        response.end()
        setImmediate(crash, url)
        if (url === '/twice') setTimeout(crash, 100, url)
      } else response.flushHeaders()
    })
    return {
      ops: { server: createOpsServer(registry, readiness, log), host: '127.0.0.1', port: 0 },
      async listen() {
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
        process.send?.(server.address())
      },
      intake: { name: 'server', close: () => new Promise((resolve) => server.close(resolve)) },
      closables: [{ name: 'store', close: closeStore }],
      readiness
    }
  }
)
