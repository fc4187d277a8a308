/** Creates and validates sessions, for tests of one service. */

import type { Client } from '@connectrpc/connect'
import { InvalidReason, type SessionService } from '#gen/session/v1/session_pb.ts'
import { newUser } from './service.ts'

export function sessionCalls(client: Client<typeof SessionService>) {
  return {
    async create(userId = newUser(), epoch = 0n, replacesToken?: string) {
      const { session, token } = await client.createSession({ userId, epoch, ...(replacesToken && { replacesToken }) })
      if (!session) throw new Error('no session')
      return { session, token, userId }
    },
    /** `session`, or the reason why the token is invalid. */
    async outcome(token: string): Promise<string> {
      const { result } = await client.validateSession({ token })
      if (result.case !== 'invalid') return String(result.case)
      const [name = 'unknown'] = Object.entries(InvalidReason).find(([, value]) => value === result.value.reason) ?? []
      return name
    }
  }
}
