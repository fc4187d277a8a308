/** user-svc's view of session-svc. */

import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { unavailable } from '#common/errors.ts'
import { type Call, onwards } from '#common/rpc-context.ts'
import { requireServing } from '#common/rpc-probe.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

/** The calls that accounts make. */
export interface SessionClient {
  sessions: Client<typeof SessionService>
  /**
   * Asks whether sessions can be created, so that no password is hashed in vain; half a second ago is now.
   *
   * @throws ConnectError `unavailable`
   */
  requireAvailable(call: Pick<Call, 'signal' | 'timeoutMs' | 'trace'>): Promise<void>
}

/** For how long an answer holds. Where many log in at once, one asks for all: each of them waits longer than this to be hashed. */
export const trustMs = 500

export function createSessionClient(transport: Transport): SessionClient {
  let trustedUntil = Number.NEGATIVE_INFINITY
  return {
    sessions: createClient(SessionService, transport),
    async requireAvailable(call) {
      if (performance.now() < trustedUntil) return
      await requireServing(transport, SessionService.typeName, onwards(call)).catch((error) => {
        const { code } = ConnectError.from(error)
        throw code === Code.DeadlineExceeded || code === Code.Canceled ? error : notAvailable(error)
      })
      trustedUntil = performance.now() + trustMs
    }
  }
}

function notAvailable(cause?: unknown): ConnectError {
  return unavailable('Sessions are not available at the moment.', 1, cause)
}
