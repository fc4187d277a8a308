/** The decoding of session-svc's responses: an incomplete session authorises no request. */

import { create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { createClient, createRouterTransport } from '@connectrpc/connect'
import t from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { InvalidReason, SessionService, ValidationSchema } from '#gen/session/v1/session_pb.ts'
import { createValidationBatcher } from '../../session-validation/batcher.ts'
import { decodeFlat } from '../../session-validation/outcome.ts'
import { sessionOf } from './batches.ts'

const decode = (message: MessageInitShape<typeof ValidationSchema>) => decodeFlat(create(ValidationSchema, message))

t.test('decodes the response of a session-svc that lacks the flat form', async (t) => {
  const time = timestampFromMs(1)
  const times = { createdAt: time, lastSeenAt: time, expiresAt: time }
  const transport = createRouterTransport((router) => {
    router.service(SessionService, {
      validateSessions: ({ tokens }) => ({
        results: tokens.map((token) => ({
          result:
            token === 'ended'
              ? { case: 'invalid' as const, value: { reason: InvalidReason.NOT_FOUND } }
              : { case: 'session' as const, value: { id: 'x', userId: token, ...times } }
        }))
      })
    })
  })
  const validateRequest = createValidationBatcher(createClient(SessionService, transport))
  const validate = (token: string) =>
    validateRequest({ token, trace: newTrace(), endsAt: performance.now() + 10_000, isAborted: () => false })
  const session = { id: 'x', userId: 'old', createdAt: 1, lastSeenAt: 1, expiresAt: 1, age: undefined }
  t.same(await Promise.all([validate('old'), validate('ended')]), [{ kind: 'valid', session }, { kind: 'invalid' }])
})

t.test('a session that lacks a field, or has an impossible one, is unknown', async (t) => {
  const session = sessionOf('x')
  t.equal(decode(session).kind, 'valid')
  const incomplete: Record<string, MessageInitShape<typeof ValidationSchema>> = {
    'no field': {},
    'no id': { ...session, sessionId: '' },
    'no user': { ...session, userId: '' },
    'no createdAt': { ...session, createdAtMs: 0 },
    'lastSeenAt NaN': { ...session, lastSeenAtMs: Number.NaN },
    'expiresAt beyond a Date': { ...session, expiresAtMs: 8.65e15 },
    'expiresAt with a fraction': { ...session, expiresAtMs: 1.5 },
    'negative age': { ...session, ageMs: -1 }
  }
  for (const [name, message] of Object.entries(incomplete)) t.same(decode(message), { kind: 'unknown' }, name)
})

t.test('a reason makes a session invalid, also if the message has a session', async (t) => {
  t.same(decode({ ...sessionOf('x'), invalidReason: InvalidReason.REVOKED }), { kind: 'invalid' })
})
