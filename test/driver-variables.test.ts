/** Variables of drivers and of Node.js in the environment of a process of the product: they change none of its connections. */

import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..')
const output = (error: { stdout: string; stderr: string }) => error.stdout + error.stderr

fieldCase(t, 15, 'NODE_PG_FORCE_NATIVE does not replace the driver of any process', async (t) => {
  // Each imports its driver, and then reads this file.
  const env = { PATH: process.env.PATH, NODE_PG_FORCE_NATIVE: '1', CONFIG_FILE: '/nowhere/config.yml' }
  for (const entry of ['user-svc/server.ts', 'user-svc/migrate.ts', 'stack/run.ts']) {
    const printed = await run(process.execPath, [join(root, entry)], { env }).then(output, output)
    t.match(printed, /^[^\n]*\/nowhere\/config\.yml: cannot be read \(ENOENT\)\n$/, entry)
  }
})

fieldCase(t, 15, 'make run asks its services for their readiness without the proxy of the environment', async (t) => {
  const server = createServer((_request, response) => response.end('ready'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const script = `
    import { whyNotReady } from '${join(root, 'stack/service-readiness.ts')}'
    console.log(await whyNotReady('127.0.0.1:${port}'))`
  // Nothing listens on port 9.
  const env = { PATH: process.env.PATH, NODE_USE_ENV_PROXY: '1', HTTP_PROXY: 'http://127.0.0.1:9' }
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { env })
  t.equal(stdout.trim(), 'ready')
})
