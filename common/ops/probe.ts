/** The probe of a dependency, and the reason of a failed one. */

import { Code, ConnectError } from '@connectrpc/connect'
import { driverMessage, toConnectError } from '#common/errors/driver-errors.ts'
import { engineReason } from '#common/errors/engine-reason.ts'
import { describeError } from '#common/logging/describe-error.ts'
import { tlsFailure } from '#common/tls/failure.ts'

/** A probe without a result by then counts as failed. */
export const probeTimeoutMs = 2000

/** Probes a dependency. Rejects if it cannot be used; resolves to a warning for operators, if there is one. */
// biome-ignore lint/suspicious/noConfusingVoidType: most probes have no warning to return
export type Probe = () => Promise<string | undefined | void>

/** A probe's error whose message is meant for operators. By default the dependency is reachable, but unusable. */
export class ProbeError extends Error {
  override name = 'ProbeError'
  readonly failsFast: boolean
  readonly blocks: boolean

  /**
   * @param failsFast whether calls that need the dependency fail fast
   * @param options.blocks whether the service is not ready even if it does not require the dependency: an operator has
   *   to correct the configuration
   */
  constructor(message: string, failsFast = false, { blocks = false }: { blocks?: boolean } = {}) {
    super(message)
    this.failsFast = failsFast
    this.blocks = blocks
  }
}

/** Why a probe failed, for an operator: the engine's own message if it cannot contain a secret. */
export function reasonOf(thrown: unknown): string {
  const error = failureOf(thrown)
  if (error instanceof ProbeError) return error.message
  const answer = causesOf(error)
    .map(engineReason)
    .find((reason) => reason !== undefined)
  if (answer !== undefined) return `answers "${answer.message}"${answer.remedy ? `: ${answer.remedy}` : ''}`
  const codes = causesOf(error).map((each) => (each as { code?: unknown }).code)
  const tlsCode = codes.find((each) => tlsFailure(each) !== undefined)
  if (tlsCode !== undefined) return `cannot be used: ${tlsFailure(tlsCode)} (${tlsCode})`
  const { code } = toConnectError(error)
  const closedCode = codes.find((each) => closedCodes.has(each))
  if (code === Code.DeadlineExceeded && closedCode !== undefined)
    return `closes the connection (${closedCode}); by TLS, it may reject the client certificate`
  if (code === Code.DeadlineExceeded) return `gives no answer within ${probeTimeoutMs / 1000} s`
  const { type, code: driverCode, cause } = describeError(error)
  const message = causesOf(error)
    .map(driverMessage)
    .find((each) => each !== undefined)
  const detail = cause?.code ?? driverCode ?? message ?? type
  return code === Code.Unavailable ? `cannot be reached (${detail})` : `does not work (${detail})`
}

/** An open circuit breaker rejects a call with the failure of its last probe as the cause. */
function failureOf(error: unknown): unknown {
  const isRejection = error instanceof ConnectError && error.code === Code.Unavailable
  return isRejection && error.cause instanceof ConnectError ? failureOf(error.cause) : error
}

/** The server ended the connection. With TLS 1.3 the client has connected before the server checks its certificate. */
const closedCodes = new Set<unknown>(['ERR_HTTP2_STREAM_ERROR', 'ECONNRESET', 'EPIPE'])

function causesOf(error: unknown): unknown[] {
  const chain: unknown[] = []
  for (let each = error; each instanceof Error && chain.length < 5; each = each.cause) chain.push(each)
  return chain
}
