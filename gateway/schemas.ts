/** JSON schemas of what the routes take and give, for validation, serialization and the OpenAPI description. */

const token = {
  type: 'string',
  description: 'The session token, shown this once. Send it as `Authorization: Bearer <token>`.',
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
const createdAt = time('When it was created.', '2026-11-23T12:33:36.689Z')
const expiresAt = time('When the session ends at the latest.', '2026-12-23T12:33:36.689Z')

function object<P extends Record<string, object>>(description: string, properties: P) {
  return { type: 'object', description, additionalProperties: false, required: Object.keys(properties), properties }
}

/** The body of `POST /reg` and `POST /auth`. */
export const credentials = object('An address and a password.', {
  email: {
    type: 'string',
    maxLength: 254,
    description: 'An e-mail address, ASCII before the `@`; compared without regard to case.',
    examples: ['ada@example.org']
  },
  password: {
    type: 'string',
    description:
      'For a new account, 8 (`userSvc.password.minLength`) to 256 characters of well-formed Unicode without NUL, none of the commonest passwords. Never trimmed.',
    examples: ['correct horse battery staple']
  }
})

/** The answer of `POST /reg` and `POST /auth`. */
export const loggedIn = object('The account and its new session.', {
  user: object('The account.', {
    id: userId,
    email: {
      type: 'string',
      description: 'The address in its normalised form.',
      examples: ['ada@example.org']
    },
    createdAt
  }),
  session: object('The new session.', { id: sessionId, token, createdAt, expiresAt })
})

/** The answer of `GET /session`. */
export const currentSession = object('Whose session it is.', {
  user: object('The account.', { id: userId }),
  session: object('The session.', {
    id: sessionId,
    createdAt,
    lastSeenAt: time('When it was last used, to within a tenth of the idle timeout.', '2026-11-23T12:40:02.113Z'),
    expiresAt
  })
})

const problem = {
  type: 'object',
  description: 'What went wrong (RFC 9457).',
  required: ['type', 'title', 'status', 'detail', 'traceId'],
  properties: {
    type: { type: 'string', description: 'Identifies the kind of problem.' },
    title: { type: 'string', description: 'The kind of problem in words; always the same for a type.' },
    status: { type: 'integer', description: 'The HTTP status.' },
    detail: { type: 'string', description: 'What can be said about this occurrence.' },
    traceId: { type: 'string', description: 'Names this request in the logs of all services.' },
    errors: {
      type: 'array',
      description: 'The fields at fault.',
      items: object('One field.', {
        field: { type: 'string', description: 'Its name.' },
        pointer: { type: 'string', description: 'Its place, as a JSON pointer in a URI fragment (RFC 6901).' },
        detail: { type: 'string', description: 'What is wrong with it and what is accepted.' }
      })
    }
  }
}

const statusWords = {
  400: 'The input is not acceptable; `errors` names the fields.',
  401: 'The credentials are wrong, or the session has ended.',
  403: 'The session is older than the re-authentication window: log in again.',
  409: 'An account with this address exists.',
  413: 'The body is larger than 16 KiB.',
  415: 'The body is not `application/json` in UTF-8.',
  429: 'Too many requests from this address; `Retry-After` says how long to wait.',
  503: 'Certainly not done; `Retry-After` says when to try again.',
  504: 'The outcome is unknown.'
}

/** The problem answers of a route, by status, and for anything else that may happen. */
export function problems(...statuses: (keyof typeof statusWords)[]): Record<string, object> {
  const answer = (description: string) => ({
    description,
    content: { 'application/problem+json': { schema: problem } }
  })
  return {
    ...Object.fromEntries(statuses.map((status) => [status, answer(statusWords[status])])),
    '4xx': answer("Any other fault of the client's."),
    '5xx': answer("Any other fault of the server's.")
  }
}
