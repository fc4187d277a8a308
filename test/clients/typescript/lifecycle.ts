/** Calls every route with the types that openapi-typescript generates into `api.ts`, beside this file. */

import createClient from 'openapi-fetch'
import type { components, paths } from './api.ts'

type Problem = components['schemas']['Problem']
type Account = components['schemas']['User']

/** A setup of the product whose emails can be read. */
export interface Product {
  baseUrl: string
  email: string
  nextEmail: string
  /** The token of the newest email to an address, whose subject contains the text. */
  tokenOf(address: string, subject: string): Promise<string>
}

/** @throws Error if a response is not the expected one */
export async function lifecycle({ baseUrl, email, nextEmail, tokenOf }: Product): Promise<void> {
  const client = createClient<paths>({ baseUrl })
  const password = 'correct horse battery staple'
  const nextPassword = 'a kettle of seven owls'
  const bearer = (token: string | undefined) => ({ headers: { authorization: `Bearer ${token}` } })
  const logIn = async (credentials: components['schemas']['Credentials']) =>
    dataOf(await client.POST('/auth', { body: credentials })).session.token

  const weak = await client.POST('/reg', { body: { email, password: 'short' } })
  const problem: Problem = problemOf(weak, 400)
  require(problem.errors?.[0]?.code === 'too_short', 'an error of a field has a code')

  const registration = await client.POST('/reg', { body: { email, password } })
  require(registration.response.status === 201, 'a registration that opens a session')
  const registered = dataOf(registration) as components['schemas']['LoggedIn']
  const first = bearer(registered.session.token)
  done(await client.POST('/email/verification', first), 202)
  const verification = await tokenOf(email, 'Confirm your email address')
  done(await client.PUT('/email/verification', { body: { token: verification } }), 204)
  problemOf(await client.PUT('/email/verification', { body: { token: verification } }), 403)
  const account: Account = dataOf(await client.GET('/account', first)).user
  require(account.email === email && account.emailVerified, 'the address is verified')
  const current = dataOf(await client.GET('/session', first))
  require(current.user.id === account.id && current.session.id === registered.session.id, 'the session is valid')

  await logIn({ email, password })
  const { sessions } = dataOf(await client.GET('/sessions', first))
  const other = sessions.find((session) => !session.current)
  require(sessions.length === 2 && other !== undefined, 'two sessions')
  done(await client.DELETE('/sessions/{id}', { ...first, params: { path: { id: other.id } } }), 204)
  const second = await logIn({ email, password })
  done(await client.DELETE('/sessions', first), 204)
  problemOf(await client.GET('/session', bearer(second)), 401)

  const change = { currentPassword: password, newPassword: nextPassword }
  const third = bearer(dataOf(await client.PUT('/password', { ...first, body: change })).session.token)
  done(await client.PUT('/email', { ...third, body: { email: nextEmail, password: nextPassword } }), 202)
  const confirmation = await tokenOf(nextEmail, 'Confirm your new email address')
  done(await client.PUT('/email/verification', { body: { token: confirmation } }), 204)

  done(await client.POST('/password/reset', { body: { email: nextEmail } }), 202)
  const reset = { token: await tokenOf(nextEmail, 'Set a new password'), newPassword: password }
  done(await client.PUT('/password/reset', { body: reset }), 204)
  problemOf(await client.GET('/account', third), 401)
  const credentials = { email: nextEmail, password }
  done(await client.DELETE('/logout', bearer(await logIn(credentials))), 204)
  done(await client.DELETE('/delete', bearer(await logIn(credentials))), 204)
  problemOf(await client.POST('/auth', { body: credentials }), 401)
}

interface Answer<Data> {
  data?: Data
  error?: Problem
  response: Response
}

function dataOf<Data>({ data, error, response }: Answer<Data>): Data {
  if (data === undefined) throw new Error(`${response.status} ${error?.detail}`)
  return data
}

function problemOf({ error, response }: Answer<unknown>, status: number): Problem {
  require(response.status === status && error?.status === status, `${response.status} instead of ${status}`)
  return error
}

function done({ response }: Answer<unknown>, status: number): void {
  require(response.status === status, `${response.status} instead of ${status}`)
}

function require(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not as expected: ${what}`)
}
