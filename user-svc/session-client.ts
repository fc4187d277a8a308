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
   * Asks whether sessions can be created, so that no password is hashed in vain. Where many log in at once, one asks for
   * others: an answer may be as old as the password has to wait anyway, and half a second at most.
   *
   * @param waitMs how long the password will wait
   * @throws ConnectError `unavailable`
   */
  requireAvailable(call: Pick<Call, 'signal' | 'timeoutMs' | 'trace'>, waitMs: number): Promise<void>
}

const oldestMs = 500

export function createSessionClient(transport: Transport): SessionClient {
  let availableAt = Number.NEGATIVE_INFINITY
  return {
    sessions: createClient(SessionService, transport),
    async requireAvailable(call, waitMs) {
      const askedAt = performance.now()
      if (askedAt - availableAt < Math.min(waitMs, oldestMs)) return
      await requireServing(transport, SessionService.typeName, onwards(call)).catch((error) => {
        availableAt = Number.NEGATIVE_INFINITY
        const { code } = ConnectError.from(error)
        throw code === Code.DeadlineExceeded || code === Code.Canceled ? error : notAvailable(error)
      })
      availableAt = askedAt
    }
  }
}

function notAvailable(cause?: unknown): ConnectError {
  return unavailable('Sessions are not available at the moment.', 1, cause)
}
