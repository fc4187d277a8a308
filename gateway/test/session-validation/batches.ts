/** A batcher on an in-memory session-svc, with a clock that the test advances. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { createClient, createRouterTransport, type Interceptor } from '@connectrpc/connect'
import { newTrace } from '#common/ops/trace.ts'
import { traceKey } from '#common/rpc/call-context.ts'
import {
  SessionService,
  type ValidateSessionsRequest,
  type ValidateSessionsResponse,
  ValidateSessionsResponseSchema,
  type ValidationSchema
} from '#gen/session/v1/session_pb.ts'
import { createValidationBatcher } from '../../session-validation/batcher.ts'
import type { ValidationOutcome } from '../../session-validation/outcome.ts'
import type { ValidationClient, ValidationRequest } from '../../session-validation/validation-call.ts'

type Flat = MessageInitShape<typeof ValidationSchema>

/** A valid session in the flat form. */
export const sessionOf = (userId: string) => ({
  sessionId: 'x',
  userId,
  createdAtMs: 1,
  lastSeenAtMs: 1,
  expiresAtMs: 1
})

/** The user of a valid session, or the kind of another outcome. */
export const userOrKind = (outcome: ValidationOutcome) =>
  outcome.kind === 'valid' ? outcome.session.userId : outcome.kind

export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

function requestsTo(client: ValidationClient) {
  const clock = { now: 1000 }
  const validateRequest = createValidationBatcher(client, () => clock.now)
  const validate = (token: string, more: Partial<ValidationRequest> = {}) =>
    validateRequest({ token, trace: newTrace(), endsAt: clock.now + 2000, isAborted: () => false, ...more })
  return { clock, validate }
}

/** session-svc responds at once, through a Connect transport; by default each token is a valid session of its own user. */
export function batchesOver(respond = ({ tokens }: ValidateSessionsRequest): Flat[] => tokens.map(sessionOf)) {
  const calls: { request: ValidateSessionsRequest; traceId: string | undefined }[] = []
  const recordCall: Interceptor = (next) => (request) => {
    const message = request.message as ValidateSessionsRequest
    calls.push({ request: message, traceId: request.contextValues.get(traceKey)?.traceId })
    return next(request)
  }
  const transport = createRouterTransport(
    (router) => {
      router.service(SessionService, { validateSessions: (request) => ({ validations: respond(request) }) })
    },
    { transport: { interceptors: [recordCall] } }
  )
  return { ...requestsTo(createClient(SessionService, transport)), calls }
}

/** session-svc responds when the test calls `respond` of a batch. */
export function batchesByHand(onBatch = () => {}) {
  const batches: { tokens: string[]; respond(): void }[] = []
  const client: ValidationClient = {
    validateSessions: ({ tokens = [] }) =>
      new Promise<ValidateSessionsResponse>((resolve) => {
        const validations = tokens.map(sessionOf)
        batches.push({ tokens, respond: () => resolve(create(ValidateSessionsResponseSchema, { validations })) })
        onBatch()
      })
  }
  return { ...requestsTo(client), batches }
}
