/** The product as `make run` starts it, on free ports, for as long as something is measured. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** A product that is ready. */
export interface Product {
  /** An address from the table that it prints: the first of that name whose description fits. */
  address(name: string, what?: RegExp): string
  dataDir: string
  /** A password that it made for an engine. */
  secret(file: string): string
  stop(): Promise<void>
}

const portKeys = [
  ...['STACK_POSTGRES_PORT', 'STACK_REDIS_PORT', 'STACK_KAFKA_PORT', 'GATEWAY_PORT', 'GATEWAY_OPS_PORT'],
  ...['USER_SVC_PORT', 'USER_SVC_OPS_PORT', 'SESSION_SVC_PORT', 'SESSION_SVC_OPS_PORT', 'LOG_SINK_OPS_PORT']
]

/** Starts it with a data directory of its own; what differs from the defaults is said by the environment. */
export async function startProduct(dataDir: string, environment: Record<string, string> = {}): Promise<Product> {
  const env = {
    ...process.env,
    ...Object.fromEntries(portKeys.map((key) => [key, '0'])),
    STACK_DATA_DIR: dataDir,
    ...environment
  }
  const child = spawn(process.execPath, ['--disable-warning=TimeoutNegativeWarning', 'stack/run.ts'], {
    env: { ...env, MAKELEVEL: '' },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  const exited = once(child, 'exit')
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    if (line === 'ready') break
  }
  if (lines.at(-1) !== 'ready') throw new Error(`the product did not start:\n${lines.join('\n')}`)
  child.stdout.resume()
  return {
    address(name, what = /./) {
      const rows = lines.map((line) => /^(\S+) +(\S+) +(.*)$/.exec(line) ?? [])
      return rows.find((row) => row[1] === name && what.test(row[3] ?? ''))?.[2] ?? ''
    },
    dataDir,
    secret: (file) => readFileSync(join(dataDir, file), 'utf8').trim(),
    async stop() {
      child.kill('SIGTERM')
      await exited
    }
  }
}
