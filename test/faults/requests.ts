/** The requests of fault tests: each updates the ledger by its response, and checks the invariants of its route. */

import { password } from '../support/product.ts'
import { type Account, type Ledger, newAccount, type Session } from './ledger.ts'

export const wrongPassword = 'not the password of any account'

export async function register(ledger: Ledger, account = newAccount()): Promise<{ status: number; account: Account }> {
  const { state } = account
  if (state === 'new') ledger.accounts.push(account)
  const json = { email: account.email, password }
  const { status, body, violated } = await ledger.send('POST /reg', account, { json })
  if (status === 201) {
    if (state === 'exists') violated('an address was registered twice')
    account.state = 'exists'
    addSession(account, body.session)
  } else if (status === 409) {
    if (state === 'new') violated('the address of no account is taken')
    if (state === 'never') violated('a registration that was answered 503 left an account')
    if (state === 'gone') violated('a deleted account exists')
    if (state === 'unknown') account.state = 'exists'
  } else if (state === 'new' || state === 'never' || state === 'gone') {
    account.state = status === 503 ? 'never' : 'unknown'
  }
  return { status, account }
}

export async function logIn(
  ledger: Ledger,
  account: Account,
  using = account.passwords[0] ?? password
): Promise<{ status: number; session: Session | undefined }> {
  const json = { email: account.email, password: using }
  const { status, body, violated } = await ledger.send('POST /auth', account, { json })
  if (status === 200) {
    if (!account.passwords.includes(using)) violated('a wrong password was accepted')
    else account.passwords = [using]
    if (account.state === 'never') violated('a registration that was answered 503 left an account')
    if (account.state === 'gone') violated('a deleted account can log in')
    if (account.state === 'unknown') account.state = 'exists'
    return { status, session: addSession(account, body.session) }
  }
  const isRight = account.passwords.length === 1 && account.passwords[0] === using
  const rejected = status === 401 && isRight && account.state === 'exists'
  if (rejected) violated('an existing account cannot log in')
  return { status, session: undefined }
}

export async function validate(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { state } = session
  const { status, violated } = await ledger.send('GET /session', session.account, { token: session.token })
  // A concurrent request may have ended the session meanwhile: then both statuses are right.
  if (status === 200 && state === 'ended') violated('an ended session is valid')
  if (status === 401 && state === 'valid' && session.state === 'valid') violated('a valid session was answered 401')
  if (status === 401) session.state = 'ended'
  return { status }
}

export async function logOut(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { status, violated } = await ledger.send('DELETE /logout', session.account, { token: session.token })
  if (status === 401) violated('a well-formed token was answered 401')
  if (status === 204) session.state = 'ended'
  else if (status !== 503 && session.state === 'valid') session.state = 'unknown'
  return { status }
}

export async function deleteAccount(ledger: Ledger, session: Session): Promise<{ status: number }> {
  const { account, state } = session
  const { status, violated } = await ledger.send('DELETE /delete', account, { token: session.token })
  if (status === 204) {
    if (state === 'ended') violated('an ended session deleted an account')
    account.state = 'gone'
    for (const each of account.sessions) each.state = 'ended'
  } else if (status === 401) {
    if (state === 'valid') violated('a valid session was answered 401')
    session.state = 'ended'
  } else if (status !== 503) {
    if (account.state !== 'gone') account.state = 'leaving'
    for (const each of account.sessions) if (each.state === 'valid') each.state = 'unknown'
  }
  return { status }
}

export function addSession(account: Account, { id, token }: { id: string; token: string }): Session {
  const session: Session = { id, token, account, state: account.state === 'leaving' ? 'unknown' : 'valid' }
  account.sessions.push(session)
  return session
}
