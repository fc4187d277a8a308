/** user-svc's client of session-svc, with a cached health check that saves hashes while no session can be created. */

import { type CallOptions, type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect'
import { errorMeaning } from '#common/errors/codes.ts'
import { unavailable } from '#common/errors/connect-errors.ts'
import { type Probe, ProbeError } from '#common/ops/probe.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { probeOptions, requireServing } from '#common/rpc/client/health-probe.ts'
import { methodHealth } from '#common/rpc/server/health.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { ErrorInfoSchema } from '#gen/google/rpc/error_details_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

export interface SessionClient {
  sessions: Client<typeof SessionService>
  /** For readiness. Succeeds while sessions can be ended, even if none can be created. */
  probe: Probe
  /**
   * Requires that sessions can be created. The last health check or creation decides, unless it failed or is too old:
   * then a new health check does.
   *
   * @param maxAgeMs the age of the last result that still counts; 1.5 s if omitted
   * @throws ConnectError `unavailable`
   */
  requireAvailable(call: Pick<Call, 'signal' | 'timeoutMs' | 'trace'>, maxAgeMs?: number): Promise<void>
}

// The interval of readiness probes, and a margin for a busy machine.
const defaultMaxAgeMs = 1500

const creationHealth = methodHealth(SessionService.method.createSession)

export function createSessionClient(transport: Transport, clock: Clock = systemClock): SessionClient {
  const availability = createAvailability(clock)

  async function checkCreations(options: CallOptions): Promise<void> {
    await requireServing(transport, creationHealth, options).catch((error) => {
      if (ConnectError.from(error).code !== Code.NotFound) throw error
      // An instance of an older version reports the health of the service as a whole only.
      return requireServing(transport, SessionService.typeName, options)
    })
  }

  const checkAndRecord = (options: CallOptions) => availability.recordResultOf(() => checkCreations(options))
  const { createSession, ...others } = createClient(SessionService, hideClientErrors(transport))

  return {
    sessions: { ...others, createSession: (...call) => availability.recordResultOf(() => createSession(...call)) },

    probe: () =>
      checkAndRecord(probeOptions).catch((error) => {
        if (!(error instanceof ProbeError)) throw error
        return requireServing(transport, SessionService.typeName, probeOptions)
      }),

    async requireAvailable(call, maxAgeMs = defaultMaxAgeMs) {
      if (availability.ageMs() < maxAgeMs) return
      await checkAndRecord(propagate(call)).catch((error) => {
        throw isOutOfTime(error) ? error : unavailable('Sessions are not available at the moment.', 1, error)
      })
    }
  }
}

/** Remembers when sessions could be created for the last time. */
function createAvailability(clock: Clock) {
  let availableAt = Number.NEGATIVE_INFINITY
  let lastCallAt = Number.NEGATIVE_INFINITY

  /** Calls may overlap: the result of an older call does not replace that of a newer one. */
  function record(calledAt: number, isAvailable: boolean): void {
    if (calledAt < lastCallAt) return
    lastCallAt = calledAt
    availableAt = isAvailable ? calledAt : Number.NEGATIVE_INFINITY
  }

  return {
    /** Infinite after a failure. */
    ageMs: () => clock.now() - availableAt,

    /** A call that runs out of time is not recorded: it shows nothing about session-svc. */
    async recordResultOf<T>(call: () => Promise<T>): Promise<T> {
      const calledAt = clock.now()
      try {
        const result = await call()
        record(calledAt, true)
        return result
      } catch (error) {
        if (ConnectError.from(error).code === Code.Unavailable || error instanceof ProbeError) record(calledAt, false)
        throw error
      }
    }
  }
}

/**
 * Turns client errors of session-svc into `internal`: the request was user-svc's, so a field that it names is not a field
 * of the user's request. An error with a reason of the contract is for the caller to handle.
 */
function hideClientErrors(transport: Transport): Transport {
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
