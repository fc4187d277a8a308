/** Clients that generators make from `/openapi.json`, in TypeScript and Python: their names, their types, a call of every route. */

import { cpSync, globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'
import { newestEmails } from '#common/mail/mail-files.ts'
import { until } from '#common/testing/until.ts'
import { routes } from '../gateway/test/all-routes.ts'
import { runTool } from '../stack/tool.ts'
import { hasGenerator, installed } from './clients/install.ts'
import { startPlayground } from './support/playground-product.ts'
import { newAddress } from './support/product.ts'

const sources = join(import.meta.dirname, 'clients')
/** Names that a generator makes up for what has none: of method and path, of a number, of a place in another schema. */
const madeUp = /\d|item$|inner|response|body|(delete|get|post|put)_?(delete|get|post|put|auth|reg)/i

interface OpenApi {
  paths: Record<string, Record<string, { operationId: string }>>
  components: { schemas: Record<string, unknown> }
}

const { product, mailDirectory } = await startPlayground(t)
const baseUrl = `http://localhost:${product.ports.rest}`
const document = (await (await fetch(`${baseUrl}/openapi.json`)).json()) as OpenApi
const operations = Object.values(document.paths).flatMap((methods) =>
  Object.values(methods).map(({ operationId }) => operationId)
)
const schemas = Object.keys(document.components.schemas)

t.test('the document names each operation and each schema', async (t) => {
  t.equal(operations.length, routes.length)
  t.equal(new Set(operations).size, operations.length, 'no name twice')
  for (const name of operations) t.match(name, /^[a-z]+(?:[A-Z][a-z]+)*$/)
  for (const name of schemas) t.match(name, /^(?:[A-Z][a-z]+)+$/)
  t.same(
    [...operations, ...schemas].filter((name) => madeUp.test(name)),
    []
  )
})

if (hasGenerator('typescript')) {
  t.test('the TypeScript client of openapi-typescript and openapi-fetch calls every route', async (t) => {
    const folder = typescriptFolder(t)
    const generator = join(installed('typescript'), 'node_modules', '.bin')
    writeFileSync(join(folder, 'openapi.json'), JSON.stringify(document))
    await runTool(join(generator, 'openapi-typescript'), ['openapi.json', '-o', 'api.ts'], { cwd: folder })
    const api = readFileSync(join(folder, 'api.ts'), 'utf8')
    const used = [...api.matchAll(/: operations\["(\w+)"\]/g)].map(([, name]) => name)
    t.same(used.sort(), [...operations].sort(), 'each operation has its name')
    await runTool(join(generator, 'tsc'), ['-p', folder, '--pretty', 'false'], { cwd: folder })

    const before = await calledRoutes()
    const { lifecycle } = await import(pathToFileURL(join(folder, 'lifecycle.ts')).href)
    await lifecycle({ baseUrl, email: newAddress(), nextEmail: newAddress(), tokenOf })
    requireEachCalled(t, before, await calledRoutes())
  })
} else t.comment('the TypeScript generator is not installed: its client was not tested')

if (hasGenerator('python')) {
  t.test('the Python client of openapi-python-client calls every route', async (t) => {
    const folder = t.testdir({ 'config.yml': 'project_name_override: auth_backend\npost_hooks: []\n' })
    writeFileSync(join(folder, 'openapi.json'), JSON.stringify(document))
    const program = (name: string) => join(installed('python'), 'bin', name)
    const paths = ['--path', 'openapi.json', '--config', 'config.yml', '--output-path', 'auth_backend']
    const options = ['generate', '--meta', 'none', '--fail-on-warning', ...paths]
    await runTool(program('openapi-python-client'), options, { cwd: folder })
    t.same(modules(folder, 'api/*'), operations.map(snakeCase).sort(), 'each operation has a module of its name')
    t.same(modules(folder, 'models'), schemas.map(snakeCase).sort(), 'each model is a schema with a name')

    const before = await calledRoutes()
    cpSync(join(sources, 'python', 'lifecycle.py'), join(folder, 'lifecycle.py'))
    await runTool(program('python'), ['lifecycle.py', baseUrl, mailDirectory, newAddress(), newAddress()], {
      cwd: folder
    })
    requireEachCalled(t, before, await calledRoutes())
  })
} else t.comment('the Python generator is not installed: its client was not tested')

/** A folder with the program and its packages. */
function typescriptFolder(t: Test): string {
  const folder = t.testdir({})
  mkdirSync(folder, { recursive: true })
  for (const name of ['lifecycle.ts', 'tsconfig.json', 'package.json']) {
    cpSync(join(sources, 'typescript', name), join(folder, name))
  }
  symlinkSync(join(installed('typescript'), 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** The token of the newest email to an address whose subject contains a text. */
async function tokenOf(address: string, subject: string): Promise<string> {
  let token: string | undefined
  await until(`an email: ${subject}`, async () => {
    const emails = await newestEmails(mailDirectory, 100)
    const email = emails.find((email) => email.to === address && email.subject.includes(subject))
    token = email?.links[0]?.split('=')[1]
    return token !== undefined
  })
  return String(token)
}

/** How often each route has succeeded, by its name, as the gateway counts. */
async function calledRoutes(): Promise<Record<string, number>> {
  const metrics = await (await product.ops('gateway', '/metrics')).text()
  return Object.fromEntries(
    routes.map(({ name, method, pattern, success }) => {
      const series = `http_request_duration_seconds_count{method="${method}",route="${pattern}",status_code="${success}"}`
      const line = metrics.split('\n').find((line) => line.startsWith(series)) ?? ''
      return [name, Number(line.slice(series.length))]
    })
  )
}

function requireEachCalled(t: Test, before: Record<string, number>, after: Record<string, number>): void {
  for (const { name } of routes) t.ok(Number(after[name]) > Number(before[name]), `${name} succeeded`)
}

/** The modules of a generated Python package below a folder. */
function modules(folder: string, below: string): string[] {
  const files = globSync(`auth_backend/${below}/*.py`, { cwd: folder }).map((file) => basename(file, '.py'))
  return files.filter((name) => name !== '__init__').sort()
}

function snakeCase(name: string): string {
  return name.replaceAll(/(?<!^)[A-Z]/g, '_$&').toLowerCase()
}
