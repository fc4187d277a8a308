/** The log lines and the metrics of the flows of accounts. */

import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { startUserSvc } from '../service.ts'
import { newestToken, rejection } from './account-tests.ts'

const lines: string[] = []
const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
const service = await startUserSvc(t, { log })
const { client, registry, sql } = service

const secrets = {
  email: 'canary.lovelace@canary.example',
  changed: 'canary.changed@canary.example',
  password: 'canary horse battery staple',
  newPassword: 'canary horse battery stable',
  reset: 'canary horse battery table',
  wrong: 'canary wrong password'
}

/** The events of the lines since the last call. */
function events() {
  const parsed = lines.splice(0).map((line) => JSON.parse(line) as { event: string; userId?: string; reason?: string })
  return parsed.filter(({ event }) => event !== 'rpc_done' && event !== 'rpc_served')
}

t.test('each flow writes one line with the user id, and no line has an address, a password or a token', async (t) => {
  const { email, changed, password, newPassword, reset, wrong } = secrets
  const { user, session } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  const written: string[] = []
  const tokens: string[] = []
  async function expectLine(expected: { event: string; userId?: string; reason?: string }, call: Promise<unknown>) {
    lines.length = 0
    await call.catch(() => {})
    written.push(...lines)
    t.match(
      events().filter(({ event }) => event === expected.event),
      [expected],
      `${expected.event} ${expected.reason ?? ''}`
    )
  }
  const token = async (purpose: 'verify' | 'reset' | 'change') => {
    const newest = await newestToken(service, userId, purpose)
    tokens.push(newest)
    return newest
  }
  const change = (currentPassword: string) => client.changePassword({ userId, currentPassword, newPassword })
  await expectLine(
    { event: 'user_updated', userId, reason: 'email_verified' },
    client.verifyEmail({ token: await token('verify') })
  )
  await expectLine({ event: 'email_verification_fail', reason: 'token' }, client.verifyEmail({ token: 'A'.repeat(64) }))
  await expectLine(
    { event: 'email_requested', userId, reason: 'verify unneeded' },
    client.requestEmailVerification({ userId })
  )
  await expectLine(
    { event: 'sessions_ended', userId },
    client.endOtherSessions({ userId, keptSessionId: session?.id as string })
  )
  await expectLine({ event: 'authn_password_change_fail', userId }, change(wrong))
  await expectLine({ event: 'authn_password_change', userId }, change(password))
  await expectLine({ event: 'email_requested', userId, reason: 'reset queued' }, client.requestPasswordReset({ email }))
  await expectLine(
    { event: 'email_requested', userId, reason: 'change queued' },
    client.changeEmail({ userId, email: changed, password: newPassword })
  )
  await expectLine(
    { event: 'email_change_fail', userId },
    client.changeEmail({ userId, email: changed, password: wrong })
  )
  await expectLine(
    { event: 'user_updated', userId, reason: 'email_changed' },
    client.verifyEmail({ token: await token('change') })
  )
  await expectLine(
    { event: 'email_requested', userId, reason: 'reset queued' },
    client.requestPasswordReset({ email: changed })
  )
  await expectLine(
    { event: 'authn_password_change', userId, reason: 'reset' },
    client.resetPassword({ token: await token('reset'), newPassword: reset })
  )
  await expectLine(
    { event: 'authn_password_change_fail', userId, reason: 'token' },
    client.resetPassword({ token: await token('reset'), newPassword: reset })
  )
  await sql`update users set disabled_at = now() where id = ${userId}`
  await expectLine(
    { event: 'authn_login_fail', userId },
    client.authenticateAndLogin({ email: changed, password: reset })
  )
  for (const secret of [...Object.values(secrets), ...tokens, 'canary']) {
    t.notOk(
      written.some((line) => line.includes(secret)),
      'no line has a secret'
    )
  }
})

t.test('every result is counted, from zero', async (t) => {
  const metrics = async (name: string) => registry.getSingleMetricAsString(name)
  t.match(
    await metrics('auth_password_changes_total'),
    /\{result="ok"\} 1\n.*\{result="rejected"\} 1\n.*\{result="error"\} 0/
  )
  t.match(await metrics('auth_password_resets_total'), /\{result="ok"\} 1\n.*\{result="rejected"\} 1\n/)
  t.match(await metrics('auth_email_verifications_total'), /\{result="ok"\} 2\n.*\{result="rejected"\} 1\n/)
  const requests = await metrics('auth_email_requests_total')
  for (const [purpose, outcome, count] of [
    ['reset', 'queued', 2],
    ['reset', 'unknown', 0],
    ['change', 'queued', 1],
    ['verify', 'unneeded', 1]
  ]) {
    t.match(requests, `{purpose="${purpose}",outcome="${outcome}"} ${count}\n`)
  }
  await rejection(client.requestPasswordReset({ email: 'x' }))
  t.equal(await metrics('auth_email_requests_total'), requests, 'a request that is invalid is not counted')
})
