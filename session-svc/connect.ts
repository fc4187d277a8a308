/** The handlers of `session.v1.SessionService`: each checks the request, calls the domain, and counts and logs the result. */

import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Logger } from '#common/logging/logger.ts'
import { isTraceId } from '#common/ops/trace.ts'
import { callOf, lineKey } from '#common/rpc/call-context.ts'
import { maxEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { parseToken, sessionId } from '#common/session/session-token.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { epochRule, keptSessionIdRule, optionalSessionIdRule, sessionIdRule } from './field-rules.ts'
import { flatValidation, listedSessionMessage, sessionMessage, validationResponse } from './messages.ts'
import type { SessionMetrics } from './metrics.ts'
import type { ValidationResult } from './session-types.ts'
import type { Sessions } from './sessions.ts'
import { cleanUserAgent } from './user-agents.ts'

const maxTokens = 256

interface SessionRouteParts {
  sessions: Sessions
  metrics: SessionMetrics
  log: Logger
}

export function serveSessions(router: ConnectRouter, { sessions, metrics, log }: SessionRouteParts): void {
  function count(validations: ValidationResult[]): void {
    const counts = { valid: 0, invalid: 0, unknown: 0 }
    for (const { kind } of validations) counts[kind] += 1
    for (const result of ['valid', 'invalid', 'unknown'] as const) metrics.validations.inc({ result }, counts[result])
  }

  router.service(SessionService, {
    async createSession(request, context) {
      requireFields(uuidRule('user_id', request.userId), epochRule('epoch', request.epoch, maxEpoch))
      const call = callOf(context, log)
      const replaced = request.replacesToken ? parseToken(request.replacesToken) : undefined
      const origin = { replaced, userAgent: cleanUserAgent(request.userAgent ?? '') }
      const { token, session, ended } = await sessions.createSession(request.userId, request.epoch, origin, call.signal)
      metrics.created.inc()
      call.log.info({ event: 'session_created', userId: session.userId, sessionId: session.id }, 'created a session')
      for (const { userId, id, reason } of ended) {
        const line = { event: 'session_ended', userId, sessionId: id, reason }
        call.log.info(line, 'ended a session in favour of a new one')
      }
      return { session: sessionMessage(session), token }
    },

    async validateSession({ token }, context) {
      const [validation = { kind: 'unknown' as const }] = await sessions.validate([token], context.signal)
      count([validation])
      return validationResponse(validation)
    },

    async validateSessions({ tokens, traceIds, flat }, context) {
      requireFields(
        { field: 'tokens', value: tokens.length <= maxTokens, description: `must be at most ${maxTokens} tokens` },
        {
          field: 'trace_ids',
          value: traceIds.length === 0 || (traceIds.length === tokens.length && traceIds.every(isTraceId)),
          description: 'must be empty, or one for each token: 32 hexadecimal digits in lower case'
        }
      )
      metrics.batchSize.observe(tokens.length)
      context.values.set(lineKey, { count: tokens.length, ...(traceIds.length > 0 && { traceIds }) })
      const validations = await sessions.validate(tokens, context.signal)
      count(validations)
      return flat ? { validations: validations.map(flatValidation) } : { results: validations.map(validationResponse) }
    },

    async deleteSession({ target }, context) {
      const call = callOf(context, log)
      if (target.case === 'reference') {
        const { userId, sessionId: id } = target.value
        requireFields(uuidRule('reference.user_id', userId), sessionIdRule('reference.session_id', id))
        const ended = await sessions.deleteSessionById(userId, id, call.signal)
        if (ended) call.log.info({ event: 'session_ended', userId, sessionId: id }, 'ended a session')
        return {}
      }
      const value = parseToken(target.value ?? '')
      const [parsed] = requireFields({ field: 'token', value, description: 'must be a session token' })
      await sessions.deleteSession(parsed, call.signal)
      const { userId, hash } = parsed
      call.log.info({ event: 'session_ended', userId, sessionId: sessionId(hash) }, 'ended a session')
      return {}
    },

    async deleteUserSessions({ userId, epoch, all: endsAll, keptSessionId: keptId }, context) {
      const all = endsAll || epoch === 0n
      requireFields(
        uuidRule('user_id', userId),
        epochRule('epoch', epoch, maxRevokedEpoch),
        keptSessionIdRule('kept_session_id', keptId, all)
      )
      const call = callOf(context, log)
      const revoked = await sessions.revoke(userId, { epoch, all, keptId }, call.signal)
      const line = { event: 'sessions_revoked', userId, count: revoked.ended }
      call.log.info(line, 'revoked the sessions of a user')
      return { epoch: revoked.epoch, endedSessions: revoked.ended }
    },

    async listSessions({ userId, currentSessionId }, context) {
      requireFields(uuidRule('user_id', userId), optionalSessionIdRule('current_session_id', currentSessionId))
      const listed = await sessions.list(userId, context.signal)
      return { sessions: listed.map((session) => listedSessionMessage(session, currentSessionId)) }
    }
  } satisfies ServiceImpl<typeof SessionService>)
}
