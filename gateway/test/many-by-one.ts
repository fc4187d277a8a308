/** Lets a test that says how one token is validated answer for many, as the gateway asks. */

import { create } from '@bufbuild/protobuf'
import type { ServiceImpl } from '@connectrpc/connect'
import { type SessionService, ValidateSessionRequestSchema } from '#gen/session/v1/session_pb.ts'

type Sessions = Partial<ServiceImpl<typeof SessionService>>

/** The same methods, and `validateSessions` by way of `validateSession` unless it is there already. */
export function manyByOne(sessions: Sessions): Sessions {
  const { validateSession } = sessions
  if (validateSession === undefined) return sessions
  return {
    async validateSessions({ tokens }, context) {
      const one = (token: string) => validateSession(create(ValidateSessionRequestSchema, { token }), context)
      return { results: await Promise.all(tokens.map(one)) }
    },
    ...sessions
  }
}
