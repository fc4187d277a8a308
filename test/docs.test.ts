/** The documents are true: commands run, links resolve, files that they name exist, generated pages are complete. */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runTool } from '../stack/tool.ts'
import { type Block, blocksOf, brokenLinks, documents, missingFiles } from './documents.ts'
import { createProduct, longBudgets, newAddress, password } from './support/product.ts'

const root = join(import.meta.dirname, '..')
const all = documents()
const handWritten = all.filter(({ file }) => !file.startsWith('CHANGELOG'))

t.test('links resolve', async (t) => {
  t.same(all.flatMap(brokenLinks), [])
  const [first] = all.filter(({ file }) => file === 'README.md')
  const broken = `${first?.text}\n[a](docs/none.md) [b](docs/quickstart.md#none) \`[c](none)\` [d](#why)`
  t.equal(brokenLinks({ file: 'README.md', text: broken }).length, 2, 'a missing file and a missing heading are found')
})

t.test('files that the documents name exist', async (t) => {
  t.same(handWritten.flatMap(missingFiles), [])
  t.equal(missingFiles({ file: 'a.md', text: '`gateway/none.ts` and gateway/app.ts' }).length, 1)
})

t.test('the README has at most 150 lines', async (t) => {
  t.ok(readFileSync(join(root, 'README.md'), 'utf8').split('\n').length <= 150)
})

t.test('a block that is not run states the reason in the line before it', async (t) => {
  for (const { file, text } of handWritten) {
    for (const { info, line, comment } of blocksOf(text).filter(({ info }) => info.startsWith('sh'))) {
      t.match(info, /^sh( no-test| needs=[a-z-]+)?$/, `${file}:${line}`)
      if (info.includes('no-test')) t.match(comment, /^no-test: ./, `${file}:${line}`)
    }
  }
})

const product = await createProduct(t, longBudgets)
Object.assign(product.env, {
  POSTGRES_ADMIN_URL: product.env.USER_SVC_POSTGRES_URL,
  MAIL_URL: `file:${join(product.dataDir, 'mail')}`,
  MAIL_FROM: 'auth@example.org',
  MAIL_LINKS_VERIFY: 'https://app.example.org/confirm#token={token}',
  MAIL_LINKS_RESET: 'https://app.example.org/new-password#token={token}',
  MAIL_KEYS: `a:${randomBytes(32).toString('base64')}`
})
const { rest, users, sessions } = product.ports
writeFileSync(join(product.dataDir, 'rpc-token'), product.rpcToken)
writeFileSync(join(product.dataDir, 'validation-token'), product.callers[2].token)
writeFileSync(join(product.dataDir, 'admin-token'), product.adminToken)
await product.startAll()

/** The addresses of the documents are the defaults of `make run`; this product has ports of its own. */
const addresses: [written: string, actual: string][] = [
  ['localhost:8080', `127.0.0.1:${rest}`],
  ['localhost:9464', `127.0.0.1:${product.env.GATEWAY_OPS_PORT}`],
  ['127.0.0.1:50051', `127.0.0.1:${users}`],
  ['127.0.0.1:50052', `127.0.0.1:${sessions}`],
  ['.data/rpc-token', join(product.dataDir, 'rpc-token')],
  ['.data/validation-token', join(product.dataDir, 'validation-token')],
  ['.data/admin-token', join(product.dataDir, 'admin-token')],
  ['auth_b', `auth_${rest}`]
]

// Without it, a `make` in a block reports the folder that it enters.
const { MAKELEVEL, ...environment } = process.env

const isInstalled = (tool: string) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0
const isRunnable = ({ info }: Block) => {
  const [, tool] = /needs=(\S+)/.exec(info) ?? []
  return /^sh\b/.test(info) && !info.includes('no-test') && (tool === undefined || isInstalled(tool))
}

t.test('every command succeeds', async (t) => {
  // A response of 400 or above is a failure, though curl exits with 0. The product may shed a request on a busy machine:
  // curl then waits for `Retry-After`.
  const prelude = ['set -eu', 'curl() { command curl -sS --fail-with-body --retry 8 "$@"; }']
  let count = 0
  for (const { file, text } of handWritten) {
    const blocks = blocksOf(text).filter(isRunnable)
    if (blocks.length === 0) continue
    count += blocks.length
    const script = addresses.reduce(
      (text, [written, actual]) => text.replaceAll(written, actual),
      [...prelude, ...blocks.map(({ text, line }) => `echo '-- line ${line}'\n${text}`)].join('\n')
    )
    const env = { ...environment, ...product.env, PATH: process.env.PATH }
    await t.test(file, (t) =>
      runTool('sh', ['-c', script], { cwd: root, env, timeoutMs: 300_000 }).then(
        (output) => t.pass(output.split('\n').at(-1) as string),
        (error) => t.fail(error.output)
      )
    )
  }
  t.ok(count >= 10, `${count} blocks were run`)
})

t.test('the TypeScript sample for applications validates tokens', async (t) => {
  const page = readFileSync(join(root, 'docs/guides/protect-an-app.md'), 'utf8')
  const sample = blocksOf(page).find(({ info }) => info === 'ts')?.text ?? 'no sample'
  const file = join(root, 'docs/samples/user-of.ts')
  t.ok(readFileSync(file, 'utf8').includes(sample), 'the page shows the file')
  process.env.SESSION_SVC_URL = `http://127.0.0.1:${sessions}`
  process.env.VALIDATION_TOKEN = product.callers[2].token
  const { userOf } = await import(file)
  const { body } = await product.call('POST', '/reg', { json: { email: newAddress(), password } })
  t.equal(await userOf(body.session.token), body.user.id)
  t.equal(await userOf('ses_none'), undefined)
  await product.stop('session-svc', 'SIGKILL')
  await t.rejects(userOf(body.session.token), 'an outage is an error, never an invalid session')
})

t.test('the reference of metrics has every metric of the running services', async (t) => {
  const page = readFileSync(join(root, 'docs/reference/metrics.md'), 'utf8')
  const listed = new Set([...page.matchAll(/^\| `(\w+)` \| (\w+)/gm)].map(([, name]) => name as string))
  const pages = await Promise.all(
    (['gateway', 'user-svc'] as const).map(async (name) => (await product.ops(name, '/metrics')).text())
  )
  const served = pages.flatMap((text) => [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)])
  const own = served.filter(([, name, type]) => !/^(nodejs|process)_/.test(String(name)) && type !== 'summary')
  t.ok(own.length > 20)
  t.same(
    own.map(([, name]) => name as string).filter((name) => !listed.has(name)),
    [],
    'no metric is missing'
  )
})

t.test('generated pages are fresh', async (t) => {
  await t.resolves(runTool('node', ['docs/generate/run.ts', '--check'], { cwd: root, env: environment }))
})
