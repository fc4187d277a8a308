/** JSON schemas of bodies and responses, for validation, serialization and the OpenAPI description. */

const token = {
  type: 'string',
  description: 'The session token, which no other response contains. Send it as `Authorization: Bearer <token>`.',
  examples: ['ses_AaIIZcOrd2eWnkVhjL8TCfTN0PMav45mh9HYkcoMoKxiDiMHqcNyQ4UR1TWiw37XcBKWfg']
}
const userId = {
  type: 'string',
  format: 'uuid',
  description: "The account's id, a UUID of version 7.",
  examples: ['01a20865-c3ab-7767-969e-45618cbf1309']
}
const sessionId = {
  type: 'string',
  description: "The session's public handle; it authorises nothing.",
  examples: ['SEEbfY4umiHGeRoPZ3AXzg']
}
const time = (description: string, example: string) => {
  return { type: 'string', format: 'date-time', description, examples: [example] }
}
const createdAt = time('The creation time.', '2026-11-23T12:33:36.689Z')
const expiresAt = time('The latest end of the session.', '2026-12-23T12:33:36.689Z')

function object<P extends Record<string, object>>(description: string, properties: P) {
  return { type: 'object', description, additionalProperties: false, required: Object.keys(properties), properties }
}

/** The body of `POST /reg` and `POST /auth`. */
export const credentials = object('An address and a password.', {
  email: {
    type: 'string',
    maxLength: 254,
    description: 'An email address, ASCII before the `@`, case-insensitive.',
    examples: ['ada@example.org']
  },
  password: {
    type: 'string',
    description:
      'For a new account, 8 (`userSvc.password.minLength`) to 256 characters of well-formed Unicode without NUL, not on the list of common passwords. Never trimmed.',
    examples: ['correct horse battery staple']
  }
})

/** The response of `POST /reg` and `POST /auth`. */
export const loggedIn = object('The account and its new session.', {
  user: object('The account.', {
    id: userId,
    email: {
      type: 'string',
      description: 'The normalised address.',
      examples: ['ada@example.org']
    },
    createdAt
  }),
  session: object('The new session.', { id: sessionId, token, createdAt, expiresAt })
})

/** The response of `GET /session`. */
export const currentSession = object('The valid session and its account.', {
  user: object('The account.', { id: userId }),
  session: object('The session.', {
    id: sessionId,
    createdAt,
    lastSeenAt: time('The last use, accurate to a tenth of the idle timeout.', '2026-11-23T12:40:02.113Z'),
    expiresAt
  })
})

const problem = {
  type: 'object',
  description: 'A problem (RFC 9457).',
  required: ['type', 'title', 'status', 'detail', 'traceId'],
  properties: {
    type: { type: 'string', description: 'The type of the problem.' },
    title: { type: 'string', description: 'A short text, the same for every problem of a type.' },
    status: { type: 'integer', description: 'The HTTP status.' },
    detail: { type: 'string', description: 'The explanation of this occurrence.' },
    traceId: { type: 'string', description: 'The trace id of the request in the logs of all services.' },
    errors: {
      type: 'array',
      description: 'The invalid fields.',
      items: object('One field.', {
        field: { type: 'string', description: 'The name of the field.' },
        pointer: {
          type: 'string',
          description: 'The position of the field, as a JSON pointer in a URI fragment (RFC 6901).'
        },
        detail: { type: 'string', description: 'The error, and the accepted values.' }
      })
    }
  }
}

const statusDescriptions = {
  400: 'The input is invalid; `errors` names the fields.',
  401: 'The credentials are wrong, or the session has ended.',
  403: 'The session is older than the re-authentication window: log in again.',
  409: 'An account with this address exists.',
  413: 'The body is larger than 16 KiB.',
  415: 'The body is not `application/json` in UTF-8.',
  429: 'Too many requests of this address; retry after `Retry-After` seconds.',
  503: 'The request was not applied; retry after `Retry-After` seconds.',
  504: 'The outcome is unknown: the request may have been applied or not.'
}

/** The responses of a route for these statuses, and for all other 4xx and 5xx. */
export function problems(...statuses: (keyof typeof statusDescriptions)[]): Record<string, object> {
  const answer = (description: string) => ({
    description,
    content: { 'application/problem+json': { schema: problem } }
  })
  return {
    ...Object.fromEntries(statuses.map((status) => [status, answer(statusDescriptions[status])])),
    '4xx': answer('Any other client error.'),
    '5xx': answer('Any other server error.')
  }
}
