/** A second gateway beside that of the product, which is killed and frozen. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { type createProduct, startWithinMs } from '../support/product.ts'

type Product = Awaited<ReturnType<typeof createProduct>>

export async function startSecondGateway(t: Pick<Test, 'teardown'>, { env, dataDir }: Product) {
  const [port, opsPort] = await Promise.all([freePort(), freePort()])
  const own = {
    GATEWAY_PORT: String(port),
    GATEWAY_OPS_PORT: String(opsPort),
    LOG_SPOOL_DIRECTORY: join(dataDir, 'spool-2')
  }
  let child: ChildProcess

  async function start(): Promise<void> {
    child = spawn(process.execPath, ['gateway/server.ts'], { env: { ...env, ...own }, stdio: 'ignore' })
    await until('the second gateway answers', isAlive, startWithinMs)
  }

  const isAlive = () =>
    fetch(`http://127.0.0.1:${opsPort}/livez`).then(
      ({ ok }) => ok,
      () => false
    )

  async function kill(): Promise<void> {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  t.teardown(kill)
  process.once('exit', () => child.kill('SIGKILL'))
  await start()
  return {
    port,
    start,
    kill,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT')
  }
}

export type SecondGateway = Awaited<ReturnType<typeof startSecondGateway>>
