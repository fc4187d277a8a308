/** Privileges under `make run`: each process has the secrets and the rights that it needs, and no others. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { descendants, startStack, temporaryDataDir } from './support/stack-run.ts'

t.setTimeout(300_000)
const dataDir = temporaryDataDir(t)
const pepper = `a:${Buffer.alloc(32, 'pepper').toString('base64')}`
const stack = startStack(t, dataDir, {
  USER_SVC_PASSWORD_PEPPERS: pepper,
  RPC_PREVIOUS_ADMIN_TOKEN: 'previous-admin-token',
  RPC_PREVIOUS_TOKEN: 'previous-token',
  OTHER_PROGRAM_SECRET: 'secret-of-the-caller'
})
await stack.printed(/^ready$/)

const fileContent = (name: string) => readFileSync(join(dataDir, name), 'utf8').trim()

/** The environment of a process, as the system shows it. */
function environmentOf(command: string): Record<string, string> {
  const [pid] = descendants(stack.pid).find(([, line]) => line.includes(command)) ?? []
  const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  return Object.fromEntries(
    variables.map((variable) => [variable.split('=', 1)[0], variable.slice(variable.indexOf('=') + 1)])
  )
}

t.test('the environment of a process has only the secrets that it uses', async (t) => {
  const secrets: Record<string, string> = {
    'PostgreSQL password': fileContent('postgres-password'),
    'Redis password': fileContent('redis-password'),
    'rpc token': fileContent('rpc-token'),
    'admin token': fileContent('admin-token'),
    'mail key': Buffer.from(fileContent('mail-key'), 'base64url').toString('base64'),
    pepper,
    'previous token': 'previous-token',
    'previous admin token': 'previous-admin-token',
    'secret of the caller': 'secret-of-the-caller'
  }
  const secretsIn = (command: string) => {
    const values = Object.values(environmentOf(command))
    return Object.keys(secrets).filter((name) => values.some((value) => value.includes(secrets[name] as string)))
  }
  t.same(secretsIn('gateway/server.ts'), ['Redis password', 'rpc token'])
  t.same(secretsIn('session-svc/server.ts'), ['Redis password', 'rpc token', 'previous token'])
  const ofUserSvc = ['PostgreSQL password', 'rpc token', 'admin token', 'mail key', 'pepper']
  t.same(secretsIn('user-svc/server.ts'), [...ofUserSvc, 'previous token', 'previous admin token'])
  t.same(secretsIn('log-sink/server.ts'), [])
  for (const engine of ['postgres -D', 'redis-server', 'kafka.Kafka']) t.same(secretsIn(engine), [], engine)
})
