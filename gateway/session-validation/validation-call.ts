/** Validates a batch of tokens by one call to session-svc. */

import type { Client } from '@connectrpc/connect'
import { newTrace, type Trace } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import { decodeFlat, decodeResponse, type ValidationOutcome } from './outcome.ts'

export type ValidationClient = Pick<Client<typeof SessionService>, 'validateSessions'>

/** A token, and the request that carries it. */
export interface ValidationRequest {
  token: string
  trace: Trace
  /** The deadline of the request, by the clock of the batcher. */
  endsAt: number
  /** Whether the client has disconnected. */
  isAborted(): boolean
}

/**
 * Calls session-svc until the latest deadline of the batch. A batch of one belongs to the trace of its request; a larger
 * one has its own trace and sends the trace ids of its requests, for the log.
 *
 * @returns the outcomes in the order of the batch; a response that is too short has fewer
 */
export async function callSessionSvc(
  client: ValidationClient,
  batch: [ValidationRequest, ...ValidationRequest[]],
  now: () => number
): Promise<ValidationOutcome[]> {
  const isSingle = batch.length === 1
  const endsAt = batch.reduce((latest, each) => Math.max(latest, each.endsAt), 0)
  const trace = isSingle ? batch[0].trace : newTrace()
  const options = propagate({ trace, timeoutMs: () => endsAt - now() })
  const request = {
    tokens: batch.map(({ token }) => token),
    traceIds: isSingle ? [] : batch.map(({ trace: { traceId } }) => traceId),
    flat: true
  }
  const { results, validations } = await client.validateSessions(request, options)
  return validations.length > 0 ? validations.map(decodeFlat) : results.map(decodeResponse)
}
