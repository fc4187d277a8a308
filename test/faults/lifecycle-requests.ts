/** The requests of fault tests about an existing account: password, address, list of sessions. */

import { newAddress } from '../support/product.ts'
import type { Account, Ledger, Session } from './ledger.ts'
import { addSession } from './requests.ts'

/** A token that an account has got by email. */
export interface EmailedToken {
  token: string
  account: Account
  /** `unknown`: a use had an unknown outcome. */
  state: 'valid' | 'used' | 'unknown'
}

interface SessionRequest {
  json?: unknown
  path?: string
}

/** Sends a request of a session, whose validity the status must show. */
async function sendAs(ledger: Ledger, route: string, session: Session, request: SessionRequest = {}) {
  const { account, state, token } = session
  const response = await ledger.send(route, account, { token, ...request })
  const { status, violated } = response
  if (isSuccess(status) && state === 'ended') violated('an ended session was accepted')
  // A lost account answers 401 to its sessions, which Redis still has.
  if (status === 401 && state === 'valid' && session.state === 'valid' && account.state === 'exists') {
    violated('a valid session was answered 401')
  }
  return response
}

const isSuccess = (status: number) => status >= 200 && status < 300
const isUnknown = (status: number) => status === 0 || status > 503

/** Records that sessions have ended, or may have. */
function end(sessions: Session[], status: number): void {
  for (const session of sessions) {
    if (isSuccess(status)) session.state = 'ended'
    else if (isUnknown(status) && session.state === 'valid') session.state = 'unknown'
  }
}

let passwords = 0
const newPassword = () => `another correct horse ${++passwords}`

export async function readAccount(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { status, body, violated } = await sendAs(ledger, 'GET /account', session)
  if (status === 200 && body.user.email !== session.account.email) violated('the account has another address')
  return { status }
}

export async function changePassword(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { account } = session
  const [currentPassword] = account.passwords
  const chosen = newPassword()
  const json = { currentPassword, newPassword: chosen }
  // After an unknown outcome, the current password may be the new one of that request.
  const permitted = account.passwords.length > 1 ? [403] : []
  const { token } = session
  const { status, body } = await ledger.send('PUT /password', account, { token, json, permitted })
  end(account.sessions, status)
  if (status === 200) {
    account.passwords = [chosen]
    addSession(account, body.session)
  } else if (isUnknown(status)) account.passwords.push(chosen)
  return { status }
}

export async function requestReset(ledger: Ledger, account: Account): Promise<{ status: number }> {
  return ledger.send('POST /password/reset', account, { json: { email: account.email } })
}

export async function resetPassword(ledger: Ledger, emailed: EmailedToken): Promise<{ status: number }> {
  const { account } = emailed
  const chosen = newPassword()
  const json = { token: emailed.token, newPassword: chosen }
  const { status, violated } = await ledger.send('PUT /password/reset', account, { json, ...permittedFor(emailed) })
  if (status === 204 && emailed.state === 'used') violated('a token was accepted twice')
  end(account.sessions, status)
  if (status === 204) account.passwords = [chosen]
  else if (isUnknown(status)) account.passwords.push(chosen)
  recordUse(emailed, status)
  return { status }
}

export async function changeAddress(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const [password] = session.account.passwords
  return sendAs(ledger, 'PUT /email', session, { json: { email: newAddress(), password } })
}

export async function requestVerification(ledger: Ledger, session: Session): Promise<{ status: number }> {
  return sendAs(ledger, 'POST /email/verification', session)
}

export async function verifyAddress(ledger: Ledger, emailed: EmailedToken): Promise<{ status: number }> {
  const { account, token } = emailed
  const options = { json: { token }, ...permittedFor(emailed) }
  const { status, violated } = await ledger.send('PUT /email/verification', account, options)
  if (status === 204 && emailed.state === 'used') violated('a token was accepted twice')
  recordUse(emailed, status)
  return { status }
}

export async function listSessions(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { sessions } = session.account
  const ended = new Set(sessions.filter(({ state }) => state === 'ended').map(({ id }) => id))
  const { status, body, violated } = await sendAs(ledger, 'GET /sessions', session)
  if (status !== 200) return { status }
  const listed: { id: string; current: boolean }[] = body.sessions
  if (listed.some(({ id }) => ended.has(id))) violated('an ended session is in the list')
  const current = listed.filter((each) => each.current).map(({ id }) => id)
  if (current.join() !== session.id) violated('the list does not mark the current session')
  return { status }
}

export async function endOtherSessions(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { status } = await sendAs(ledger, 'DELETE /sessions', session)
  const others = session.account.sessions.filter((each) => each !== session)
  end(others, status)
  return { status }
}

/** Ends `other` by a request of `session`. */
export async function endSession(ledger: Ledger, session: Session, other: Session): Promise<{ status: number }> {
  const { status } = await sendAs(ledger, 'DELETE /sessions/{id}', session, { path: `/sessions/${other.id}` })
  end([other], status)
  return { status }
}

/** A token whose use had an unknown outcome, or whose account was lost, may be rejected. */
function permittedFor({ state, account }: EmailedToken): { permitted: number[] } {
  return { permitted: state === 'valid' && account.state === 'exists' ? [] : [403] }
}

function recordUse(emailed: EmailedToken, status: number): void {
  if (status === 204 || status === 403) emailed.state = 'used'
  else if (isUnknown(status)) emailed.state = 'unknown'
}
