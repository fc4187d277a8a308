/** The responses that the schemas of routes declare: successes and problems. */

import { ref } from './schemas.ts'

/** A successful response with a body. */
export const answers = (id: string, description: string) => ({ ...ref(id), description })

/** A successful response without a body. */
export const empty = (description: string) => ({ type: 'null', description })

const statusDescriptions = {
  400: 'The input is invalid; `errors` names the fields.',
  401: 'The credentials are wrong, or the session has ended.',
  409: 'An account with this address exists.',
  413: 'The body is larger than 16 KiB.',
  415: 'The body is not `application/json` in UTF-8.',
  429: 'Too many requests of this address; retry after `Retry-After` seconds.',
  501: '`mail-not-configured`: the operator has not configured emails.',
  503: 'The request was not applied; retry after `Retry-After` seconds.',
  504: 'The outcome is unknown: the request may have been applied or not.'
}

const forbiddenDescriptions = {
  'permission-denied': 'the session is older than the re-authentication window: log in again',
  'wrong-password': 'the password of the account is wrong',
  'invalid-token': 'the token is malformed, expired, used, or older than a later change of the credentials',
  'account-disabled': 'the password is correct, and an operator has disabled the account',
  'email-not-verified': 'the password is correct, and the address must be verified first',
  'cross-origin': 'a page of an origin that is not in `gateway.origins` sent a cookie, or asked for one'
}

/** The responses of a route for these statuses, and for all other 4xx and 5xx. */
export function problems(...statuses: (keyof typeof statusDescriptions)[]): Record<string, object> {
  return {
    ...Object.fromEntries(statuses.map((status) => [status, problem(statusDescriptions[status])])),
    '4xx': problem('Any other client error.'),
    '5xx': problem('Any other server error.')
  }
}

/** The response 403, with the types of its problems. */
export function forbidden(...types: (keyof typeof forbiddenDescriptions)[]): Record<string, object> {
  const description = types.map((type) => `\`${type}\`: ${forbiddenDescriptions[type]}.`).join(' ')
  return { 403: problem(description) }
}

function problem(description: string) {
  return { description, content: { 'application/problem+json': { schema: ref('Problem') } } }
}

/** The credential of a route that needs a session. */
export const needsSession = [{ bearer: [] }, { cookie: [] }]
/** The credential of a route that uses a session if the request has one. */
export const takesSession = [{}, ...needsSession]
