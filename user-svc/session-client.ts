/** user-svc's view of session-svc. */

import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { errorMeaning } from '#common/errors/codes.ts'
import { unavailable } from '#common/errors/connect-errors.ts'
import { type Probe, ProbeError } from '#common/ops/readiness.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { probeOptions, requireServing } from '#common/rpc/client/health-probe.ts'
import { methodHealth } from '#common/rpc/server/health.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

/** The calls that accounts make. */
export interface SessionClient {
  sessions: Client<typeof SessionService>
  /** The probe of readiness. */
  probe: Probe
  /**
   * Requires that sessions can be created, so that no password is hashed in vain. The last probe or creation decides;
   * session-svc is asked if that failed or is too old.
   *
   * @param maxAgeMs how old the last probe or creation may be; a second and a half if omitted
   * @throws ConnectError `unavailable`
   */
  requireAvailable(call: Pick<Call, 'signal' | 'timeoutMs' | 'trace'>, maxAgeMs?: number): Promise<void>
}

// The interval of readiness probes, and a margin for a busy machine.
const knownForMs = 1500

const creations = methodHealth(SessionService.method.createSession)

export function createSessionClient(transport: Transport): SessionClient {
  let availableAt = Number.NEGATIVE_INFINITY
  let newest = Number.NEGATIVE_INFINITY

  /** Calls can overlap: the result of an older one does not replace that of a newer one. */
  function record(askedAt: number, isAvailable: boolean): void {
    if (askedAt < newest) return
    newest = askedAt
    availableAt = isAvailable ? askedAt : Number.NEGATIVE_INFINITY
  }

  /** Records whether sessions can be created; a call that ran out of time says nothing about it. */
  async function recorded<T>(work: () => Promise<T>): Promise<T> {
    const askedAt = performance.now()
    try {
      const result = await work()
      record(askedAt, true)
      return result
    } catch (error) {
      if (ConnectError.from(error).code === Code.Unavailable || error instanceof ProbeError) record(askedAt, false)
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

  const ask = (options: CallOptions) => recorded(() => requireCreations(options))
  const { createSession, ...others } = createClient(SessionService, ownFaults(transport))

  return {
    sessions: { ...others, createSession: (...call) => recorded(() => createSession(...call)) },
    // While no session can be created, sessions may still be ended.
    probe: () =>
      ask(probeOptions).catch((error) => {
        if (!(error instanceof ProbeError)) throw error
        return requireServing(transport, SessionService.typeName, probeOptions)
      }),
    async requireAvailable(call, maxAgeMs = knownForMs) {
      if (performance.now() - availableAt < maxAgeMs) return
      await ask(propagate(call)).catch((error) => {
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
