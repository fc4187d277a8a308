/** The body that a registration and a log-in answer with. */

import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import type { AuthenticateAndLoginResponse, RegisterAndLoginResponse } from '#gen/user/v1/user_pb.ts'

/** Refuses a reply of user-svc that lacks a part: it must never become half a log-in. */
export function loggedInBody({ user, session, token }: RegisterAndLoginResponse | AuthenticateAndLoginResponse) {
  if (!user?.id || !session?.id || !token) throw new ConnectError('user-svc gave an incomplete reply', Code.Internal)
  return {
    user: { id: user.id, email: user.email, createdAt: timeText(user.createdAt) },
    session: { id: session.id, token, createdAt: timeText(session.createdAt), expiresAt: timeText(session.expiresAt) }
  }
}

function timeText(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) throw new ConnectError('a reply lacks a time', Code.Internal)
  return new Date(timestampMs(timestamp)).toISOString()
}
