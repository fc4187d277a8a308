/** Runs no-op-server.ts, to which requests are compared. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Bench } from './part.ts'

interface NoOp {
  url: string
  stop(): Promise<void>
}

/** Starts the no-op, which logs to a file of the bench. */
export async function startNoOp({ dataDir }: Bench): Promise<NoOp> {
  const log = join(dataDir, 'no-op.log')
  const args = [join(import.meta.dirname, 'no-op-server.ts'), log]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const [address] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return {
    url: `${address}/session`,
    async stop() {
      child.kill()
      await exited
      // The log has hundreds of MB.
      rmSync(log)
    }
  }
}
