/** Implements `validateSessions` by a test's `validateSession`, in the current and in an older form. */

import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { durationMs, timestampMs } from '@bufbuild/protobuf/wkt'
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect'
import {
  InvalidReason,
  type SessionService,
  ValidateSessionRequestSchema,
  type ValidateSessionResponse,
  ValidateSessionResponseSchema,
  type ValidationSchema
} from '#gen/session/v1/session_pb.ts'

type Sessions = Partial<ServiceImpl<typeof SessionService>>

/** Adds `validateSessions`, which calls `validateSession` for each token, unless the test has its own. */
export function validateEach(sessions: Sessions): Sessions {
  const { validateSession } = sessions
  if (validateSession === undefined) return sessions
  return {
    async validateSessions({ tokens }, context) {
      return { validations: (await answerEach(validateSession, tokens, context)).map(flatAnswer) }
    },
    ...sessions
  }
}

/** Adds `validateSessions` of an older session-svc, which ignores `flat`. */
export function asOlderServer(sessions: Sessions & Pick<Required<Sessions>, 'validateSession'>): Sessions {
  return {
    ...sessions,
    async validateSessions({ tokens }, context) {
      return { results: await answerEach(sessions.validateSession, tokens, context) }
    }
  }
}

function answerEach(
  validateSession: Required<Sessions>['validateSession'],
  tokens: string[],
  context: HandlerContext
): Promise<ValidateSessionResponse[]> {
  const one = async (token: string) => {
    const answer = await validateSession(create(ValidateSessionRequestSchema, { token }), context)
    return create(ValidateSessionResponseSchema, answer)
  }
  return Promise.all(tokens.map(one))
}

function flatAnswer({ result }: ValidateSessionResponse): MessageInitShape<typeof ValidationSchema> {
  if (result.case === undefined) return {}
  if (result.case === 'invalid') return { invalidReason: result.value.reason || InvalidReason.NOT_FOUND }
  const { id, userId, createdAt, lastSeenAt, expiresAt, age } = result.value
  return {
    sessionId: id,
    userId,
    ...(createdAt && { createdAtMs: timestampMs(createdAt) }),
    ...(lastSeenAt && { lastSeenAtMs: timestampMs(lastSeenAt) }),
    ...(expiresAt && { expiresAtMs: timestampMs(expiresAt) }),
    ...(age && { ageMs: durationMs(age) })
  }
}
