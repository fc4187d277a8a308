/** The kinds of tokens and ids whose response times must not show whether an account, an email or a session exists, by route. */

import { randomBytes, randomUUID } from 'node:crypto'
import { createToken } from '#common/session/session-token.ts'
import { password } from '../../support/product.ts'
import { fromNewNetwork, wrongPassword } from './accounts.ts'
import type { Preparation } from './groups.ts'
import type { Group, Request } from './sampling.ts'

/** Forged tokens of emails and sessions, and ids of sessions of others. */
export async function tokenGroups({ product }: Preparation): Promise<Group[]> {
  const { email, authorization } = await product.newSession()
  const [user] = await product.sql<{ id: string }[]>`select id from users where email = ${email}`
  const [sent] = await product.sql<{ id: string }[]>`
    insert into emails (id, user_id, purpose, recipient, expires_at)
    values (${randomUUID()}, ${user?.id as string}, 'reset', ${email}, now() + interval '1 day') returning id`
  const { id: sessionOfOther } = await product.newSession()
  return [
    ...emailTokenGroups(sent?.id as string),
    ...sessionTokenGroups(user?.id as string),
    {
      name: 'DELETE /sessions/{id}',
      status: 204,
      kinds: {
        'no session': () => end(newSessionId(), authorization),
        'session of another account': () => end(sessionOfOther, authorization)
      }
    }
  ]
}

const newSessionId = () => randomBytes(16).toString('base64url')

const end = (id: string, authorization: string): Request => ({
  method: 'DELETE',
  path: `/sessions/${id}`,
  headers: { authorization, ...fromNewNetwork() }
})

function forgedTokens(name: string, status: number, use: (id: string) => Request, id: string): Group {
  return {
    name: `${name}, forged token`,
    status,
    kinds: { 'of none': () => use(randomUUID()), 'of an account': () => use(id) }
  }
}

function emailTokenGroups(emailId: string): Group[] {
  const emailed = (id: string) =>
    Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), randomBytes(32)]).toString('base64url')
  const use = (path: string, more: object) => (id: string) => ({
    method: 'PUT',
    path,
    body: { token: emailed(id), ...more },
    headers: fromNewNetwork()
  })
  const newPassword = 'another good password'
  return [
    forgedTokens('PUT /password/reset', 403, use('/password/reset', { newPassword }), emailId),
    forgedTokens('PUT /email/verification', 403, use('/email/verification', {}), emailId)
  ]
}

/** Every route with a session. */
function sessionTokenGroups(userId: string): Group[] {
  const sessionId = newSessionId()
  const group = (method: string, path: string, { status = 401, body }: { status?: number; body?: object } = {}) => {
    const name = `${method} ${path.replace(sessionId, '{id}')}`
    const use = (id: string): Request => ({
      method,
      path,
      ...(body && { body }),
      headers: { authorization: `Bearer ${createToken(id).token}`, ...fromNewNetwork() }
    })
    return forgedTokens(name, status, use, userId)
  }
  return [
    group('GET', '/session'),
    group('GET', '/account'),
    group('GET', '/sessions'),
    group('DELETE', '/sessions'),
    group('DELETE', `/sessions/${sessionId}`),
    group('PUT', '/password', { body: { currentPassword: wrongPassword, newPassword: password } }),
    group('PUT', '/email', { body: { email: 'new-address@example.org', password: wrongPassword } }),
    group('POST', '/email/verification'),
    group('DELETE', '/logout', { status: 204 }),
    group('DELETE', '/delete')
  ]
}
