/** The job that migrates makes the production checks of user-svc for what it uses. */

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import t from 'tap'

const weakPassword = 'hunter2'

function run(variables: Record<string, string>): { status: number | null; lines: string[] } {
  const env = { PATH: process.env.PATH, CONFIG_FILE: '/dev/null', NODE_ENV: 'production', ...variables }
  const { status, stderr } = spawnSync(process.execPath, ['user-svc/migrate.ts'], { env, encoding: 'utf8' })
  return { status, lines: stderr.trim().split('\n') }
}

t.test('production refuses plaintext, weak passwords and repeated keys', async (t) => {
  const key = `a:${randomBytes(32).toString('base64')}`
  const { status, lines } = run({
    USER_SVC_POSTGRES_URL: 'postgres://auth_service@db.example.org/auth',
    USER_SVC_POSTGRES_MIGRATION_URL: `postgres://auth_owner:${weakPassword}@db.example.org/auth`,
    USER_SVC_EVENT_KEYS: key,
    USER_SVC_PASSWORD_PEPPERS: key
  })
  t.equal(status, 1)
  t.match(lines, [
    /^user-svc: userSvc\.postgres\.migrationUrl: has a password of fewer than 12 characters/,
    /^user-svc: userSvc\.eventKeys: has the secret of userSvc\.password\.peppers/,
    /^user-svc: userSvc\.postgres\.migrationUrl: is a plaintext connection to another host/
  ])
  t.equal(lines.length, 3, 'the user name alone is enough of userSvc.postgres.url')
})

t.test('without a migration URL, userSvc.postgres.url is checked', async (t) => {
  const { status, lines } = run({ USER_SVC_POSTGRES_URL: `postgres://auth:${weakPassword}@127.0.0.1/auth` })
  t.equal(status, 1)
  t.match(lines, [/^user-svc: userSvc\.postgres\.url: has a password of fewer than 12 characters/])
})
