/** The JSON schemas that routes share by their `$id`, for validation, serialization and the OpenAPI description. */

import { fieldCodes } from '#common/errors/connect-errors.ts'

/** A schema that other schemas refer to as `{ $ref: '<$id>#' }`, and OpenAPI as a component. */
export interface SharedSchema {
  $id: string
  properties: Record<string, { examples?: unknown[] }>
}

type Properties = Record<string, object>

/** A body of a request: no other fields. */
function request(id: string, description: string, properties: Properties, optional: Properties = {}) {
  return { ...response(id, description, properties, optional), additionalProperties: false }
}

/** A part of a response: later versions can add fields. */
function response(id: string, description: string, properties: Properties, optional: Properties = {}) {
  return {
    $id: id,
    type: 'object',
    description,
    required: Object.keys(properties),
    properties: { ...properties, ...optional }
  }
}

export const ref = (id: string) => ({ $ref: `${id}#` })

const time = (description: string, example: string) => {
  return { type: 'string', format: 'date-time', description, examples: [example] }
}
const createdAt = time('The creation time.', '2026-11-23T12:33:36.689Z')
const lastSeenAt = time('The last use, accurate to a tenth of the idle timeout.', '2026-11-23T12:40:02.113Z')
const expiresAt = time('The latest end of the session.', '2026-12-23T12:33:36.689Z')
const userId = {
  type: 'string',
  format: 'uuid',
  description: "The account's id, a UUID of version 7.",
  examples: ['01a20865-c3ab-7767-969e-45618cbf1309']
}
export const sessionId = {
  type: 'string',
  description: "The session's public handle; it authorises nothing.",
  examples: ['SEEbfY4umiHGeRoPZ3AXzg']
}
const email = {
  type: 'string',
  maxLength: 254,
  description: 'An email address, ASCII before the `@`, case-insensitive.',
  examples: ['ada@example.org']
}
const password = { type: 'string', description: 'The password.', examples: ['correct horse battery staple'] }
const newPassword = {
  type: 'string',
  description:
    'For a new account or password, 8 (`userSvc.password.minLength`) to 256 characters of well-formed Unicode without NUL; no common password, no sequence, no word of service or address (docs/security/passwords.md). Never trimmed.',
  examples: ['correct horse battery staple']
}
const cookie = {
  type: 'boolean',
  description: 'Send the token in the cookie `__Host-session` instead of the body, so that no script can read it.',
  examples: [false]
}
const emailToken = {
  type: 'string',
  maxLength: 256,
  description: 'The token in the link of the email.',
  examples: ['AaIIZcOrd2eWnkVhjL8TCcwPc1wHvHhCkuRHu3ZqS3zyiA1mQJYkJ0d9o8tH4mFz']
}

export const deviceTokenExample =
  'O7Eu2jwpjbXeJVl_VNkk8uF-eKJq2JU-2CGO5oLwu76QIeLzAJ0FnMvk8HESnRgNfwZWFc04yOv1JBwtL1aydDWDOHuXU_dFqA5pDX'

/** The optional header of the routes that check or set a password, or replace the token. A value that is no valid token is ignored. */
export const deviceTokenHeader = {
  type: 'object',
  properties: {
    'X-Device-Token': {
      type: 'string',
      description:
        'The device token of an earlier registration, login or change of the password. It gives a known device its own share of attempts while others guess. Browsers send the cookie `__Host-device` instead.',
      examples: [deviceTokenExample]
    }
  }
}

const requests = [
  request('Credentials', 'An address and a password.', { email, password: newPassword }, { cookie }),
  request(
    'PasswordChange',
    'The current password and a new one.',
    {
      currentPassword: { ...password, description: 'The current password.' },
      newPassword: { ...newPassword, examples: ['lamp purple monkey dishwasher'] }
    },
    { cookie }
  ),
  request('PasswordResetRequest', 'The address of an account.', { email }),
  request('PasswordReset', 'The token of an email, and a new password.', { token: emailToken, newPassword }),
  request('EmailChange', 'A new address, and the password of the account.', { email, password }),
  request('EmailVerification', 'The token of an email.', { token: emailToken })
]

const responses = [
  response('User', 'An account.', {
    id: userId,
    email: { type: 'string', description: 'The normalised address.', examples: ['ada@example.org'] },
    emailVerified: {
      type: 'boolean',
      description: 'Whether the owner has proved to receive email at the address.',
      examples: [true]
    },
    createdAt
  }),
  response(
    'NewSession',
    'A new session.',
    { id: sessionId, createdAt, expiresAt },
    {
      token: {
        type: 'string',
        description:
          'The session token, which no other response contains. Send it as `Authorization: Bearer <token>`. Absent in cookie mode.',
        examples: ['ses_AaIIZcOrd2eWnkVhjL8TCfTN0PMav45mh9HYkcoMoKxiDiMHqcNyQ4UR1TWiw37XcBKWfg']
      }
    }
  ),
  response('Session', 'A session.', { id: sessionId, createdAt, lastSeenAt, expiresAt }),
  response('ListedSession', 'A session in the list of an account.', {
    id: sessionId,
    createdAt,
    lastSeenAt,
    expiresAt,
    userAgent: {
      type: 'string',
      description:
        'The `User-Agent` of the client that created the session, at most 256 characters; empty if it sent none.',
      examples: ['Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0']
    },
    current: { type: 'boolean', description: 'Whether this is the session of the request.', examples: [true] }
  }),
  response('UserId', 'The account, by its id alone.', { id: userId }),
  response('LoggedIn', 'The account and its new session.', { user: ref('User'), session: ref('NewSession') }),
  response('RegistrationAccepted', 'An accepted registration, without any data of the account.', {}),
  response('CurrentSession', 'The valid session and its account.', { user: ref('UserId'), session: ref('Session') }),
  response('Account', 'The account.', { user: ref('User') }),
  response('PasswordChanged', 'The session that replaces all others of the account.', { session: ref('NewSession') }),
  response('Sessions', 'The valid sessions of the account.', {
    sessions: { type: 'array', description: 'The sessions, the newest first.', items: ref('ListedSession') }
  }),
  response('FieldError', 'An invalid field.', {
    field: { type: 'string', description: 'The name of the field.', examples: ['password'] },
    pointer: {
      type: 'string',
      description: 'The position of the field, as a JSON pointer in a URI fragment (RFC 6901).',
      examples: ['#/password']
    },
    code: {
      type: 'string',
      description: `The kind of error, for programs and translations: ${fieldCodes.map((code) => `\`${code}\``).join(', ')}. Later versions can add codes.`,
      examples: ['too_short']
    },
    detail: {
      type: 'string',
      description: 'The error, and the accepted values.',
      examples: ['is too short: 8 to 256 characters are accepted']
    }
  }),
  response(
    'Problem',
    'A problem (RFC 9457).',
    {
      type: {
        type: 'string',
        description: 'The type of the problem.',
        examples: ['urn:problem-type:invalid-argument']
      },
      title: {
        type: 'string',
        description: 'A short text, the same for every problem of a type.',
        examples: ['Invalid input']
      },
      status: { type: 'integer', description: 'The HTTP status.', examples: [400] },
      detail: {
        type: 'string',
        description: 'The explanation of this occurrence.',
        examples: ['password: is too short: 8 to 256 characters are accepted']
      },
      traceId: {
        type: 'string',
        description: 'The trace id of the request in the logs of all services.',
        examples: ['0af7651916cd43dd8448eb211c80319c']
      }
    },
    { errors: { type: 'array', description: 'The invalid fields.', items: ref('FieldError') } }
  )
]

export const sharedSchemas: readonly SharedSchema[] = [...requests, ...responses]
