/** The body of a successful registration or login. */

import type { Timestamp } from '@bufbuild/protobuf/wkt'
import { timestampMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import type { AuthenticateAndLoginResponse, RegisterAndLoginResponse } from '#gen/user/v1/user_pb.ts'

/** @throws ConnectError `internal` if the reply of user-svc is incomplete */
export function loggedInBody({ user, session, token }: RegisterAndLoginResponse | AuthenticateAndLoginResponse) {
  if (!user?.id || !session?.id || !token) throw new ConnectError('incomplete reply of user-svc', Code.Internal)
  return {
    user: { id: user.id, email: user.email, createdAt: timeText(user.createdAt) },
    session: { id: session.id, token, createdAt: timeText(session.createdAt), expiresAt: timeText(session.expiresAt) }
  }
}

function timeText(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) throw new ConnectError('a time is missing in a reply', Code.Internal)
  return new Date(timestampMs(timestamp)).toISOString()
}
