/** user-svc's view of session-svc. */

import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { errorMeaning } from '#common/error-table.ts'
import { unavailable } from '#common/errors.ts'
import { methodHealth } from '#common/health.ts'
import { type Probe, ProbeError } from '#common/readiness.ts'
import { type Call, onwards } from '#common/rpc-context.ts'
import { probeOptions, requireServing } from '#common/rpc-probe.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

/** The calls that accounts make. */
export interface SessionClient {
  sessions: Client<typeof SessionService>
  /** The probe of readiness; what it is answered counts for those who log in, too. */
  probe: Probe
  /**
   * Asks whether sessions can be created, so that no password is hashed in vain. Where many log in at once, one asks for
   * others: an answer may be as old as the password has to wait anyway, and a second and a half at most.
   *
   * @param waitMs how long the password will wait
   * @throws ConnectError `unavailable`
   */
  requireAvailable(call: Pick<Call, 'signal' | 'timeoutMs' | 'trace'>, waitMs: number): Promise<void>
}

// Readiness is looked at once a second; the rest is for a busy machine.
const oldestMs = 1500

const creations = methodHealth(SessionService.method.createSession)

export function createSessionClient(transport: Transport): SessionClient {
  let availableAt = Number.NEGATIVE_INFINITY
  let newest = Number.NEGATIVE_INFINITY

  async function ask(options: CallOptions): Promise<void> {
    const askedAt = performance.now()
    function learn(isAvailable: boolean): void {
      // Questions can overlap; what an older one was answered is over.
      if (askedAt < newest) return
      newest = askedAt
      availableAt = isAvailable ? askedAt : Number.NEGATIVE_INFINITY
    }
    try {
      await requireCreations(options)
      learn(true)
    } catch (error) {
      // Whoever had no more time has learnt nothing.
      if (!isOutOfTime(error)) learn(false)
      throw error
    }
  }

  /** Older instances answer for the service as a whole only. */
  async function requireCreations(options: CallOptions): Promise<void> {
    await requireServing(transport, creations, options).catch((error) => {
      if (ConnectError.from(error).code !== Code.NotFound) throw error
      return requireServing(transport, SessionService.typeName, options)
    })
  }

  return {
    sessions: createClient(SessionService, ownFaults(transport)),
    // While no session can be created, sessions may still be ended.
    probe: () =>
      ask(probeOptions).catch((error) => {
        if (!(error instanceof ProbeError)) throw error
        return requireServing(transport, SessionService.typeName, probeOptions)
      }),
    async requireAvailable(call, waitMs) {
      if (performance.now() - availableAt < Math.min(waitMs, oldestMs)) return
      await ask(onwards(call)).catch((error) => {
        throw isOutOfTime(error) ? error : notAvailable(error)
      })
    }
  }
}

/**
 * Turns client errors of session-svc into `internal`: the request was user-svc's, so no field that it names is one of a
 * user's request. An error with a reason of the contract is for the caller to handle.
 */
function ownFaults(transport: Transport): Transport {
  const unary: Transport['unary'] = async (...call) => {
    try {
      return await transport.unary(...call)
    } catch (thrown) {
      const error = ConnectError.from(thrown)
      const isClientError = error.code !== Code.Canceled && errorMeaning(error.code).errorClass === 'client'
      const domain = SessionService.file.proto.package
      if (!isClientError || error.findDetails(ErrorInfoSchema).some((info) => info.domain === domain)) throw thrown
      throw new ConnectError('Internal error.', Code.Internal, undefined, undefined, error)
    }
  }
  return { ...transport, unary }
}

function isOutOfTime(error: unknown): boolean {
  const { code } = ConnectError.from(error)
  return code === Code.DeadlineExceeded || code === Code.Canceled
}

function notAvailable(cause?: unknown): ConnectError {
  return unavailable('Sessions are not available at the moment.', 1, cause)
}
