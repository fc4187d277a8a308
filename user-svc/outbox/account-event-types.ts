/** The types of outbox rows: how the sessions of the account end, and which event of `user/v1/events.proto` follows. */

import { create, type DescMessage, type MessageInitShape } from '@bufbuild/protobuf'
import { type Timestamp, timestampFromDate } from '@bufbuild/protobuf/wkt'
import { maxRevokedEpoch } from '#common/session/session-epoch.ts'
import type { DeleteUserSessionsRequestSchema } from '#gen/session/v1/session_pb.ts'
import {
  UserCreatedSchema,
  UserDeletedSchema,
  UserDisabledSchema,
  UserEmailChangedSchema,
  UserEmailVerifiedSchema,
  UserEnabledSchema,
  UserPasswordChangedSchema,
  UserSessionsEndedSchema
} from '#gen/user/v1/events_pb.ts'
import type { AccountEvent } from './account-events.ts'
import type { OutboxRow } from './outbox-rows.ts'

type Revocation = MessageInitShape<typeof DeleteUserSessionsRequestSchema>

interface AccountEventType {
  /** The last part of the event's id. An account is created once and deleted once; other events have the id of their row. */
  idOf(row: OutboxRow): string
  event(row: OutboxRow): Pick<AccountEvent, 'schema' | 'message'>
  /** How the sessions end. A row without an epoch ends none. */
  manner: (row: OutboxRow) => { all?: boolean; keptSessionId?: string }
}

/** Makes a type whose event has the user id, the time of the row in one field, and perhaps more. */
function eventType(
  schema: DescMessage,
  fields: (at: Timestamp, row: OutboxRow) => Record<string, unknown>,
  options: Partial<Pick<AccountEventType, 'idOf' | 'manner'>> = {}
): AccountEventType {
  return {
    idOf: ({ type, id }) => `${type.replace('user.', '')}/${id}`,
    manner: () => ({}),
    event(row) {
      const init = { userId: row.userId, ...fields(timestampFromDate(row.createdAt), row) }
      return { schema, message: create<DescMessage>(schema, init) }
    },
    ...options
  }
}

const types: Record<string, AccountEventType> = {
  'user.created': eventType(UserCreatedSchema, (createdAt) => ({ createdAt }), { idOf: () => 'created' }),
  'user.email_verified': eventType(UserEmailVerifiedSchema, (verifiedAt) => ({ verifiedAt })),
  'user.email_changed': eventType(UserEmailChangedSchema, (changedAt) => ({ changedAt })),
  'user.password_changed': eventType(UserPasswordChangedSchema, (changedAt, { payload }) => {
    return { changedAt, reset: payload.reset === true }
  }),
  'user.disabled': eventType(UserDisabledSchema, (disabledAt) => ({ disabledAt })),
  'user.enabled': eventType(UserEnabledSchema, (enabledAt) => ({ enabledAt })),
  'user.sessions_ended': eventType(
    UserSessionsEndedSchema,
    (endedAt, row) => ({ endedAt, keptOne: keptSessionOf(row) !== '' }),
    { manner: (row) => ({ keptSessionId: keptSessionOf(row) }) }
  ),
  // A deleted account has no later epoch.
  'user.deleted': eventType(UserDeletedSchema, (deletedAt) => ({ deletedAt }), {
    idOf: () => 'deleted',
    manner: () => ({ all: true })
  })
}

/** The types that this version processes. Rows of other types stay for a relay of a newer version. */
export const accountEventTypes = Object.keys(types)

function keptSessionOf({ payload: { keptSessionId } }: OutboxRow): string {
  return typeof keptSessionId === 'string' ? keptSessionId : ''
}

function typeOf({ type }: OutboxRow): AccountEventType {
  const known = types[type]
  if (known === undefined) throw new TypeError(`no handler for the type ${type}`)
  return known
}

/** The call of session-svc that ends the sessions of a row. */
export function revocationOf(row: OutboxRow): Revocation {
  const { userId, sessionEpoch } = row
  if (sessionEpoch === null) throw new TypeError(`a row of the type ${row.type} has no session epoch`)
  // No counted epoch is higher, so the sessions of an account that has reached it do not differ by their epoch.
  if (sessionEpoch >= maxRevokedEpoch) return { userId, epoch: maxRevokedEpoch, all: true }
  return { userId, epoch: sessionEpoch, ...typeOf(row).manner(row) }
}

/** The event of a row: the same for each delivery. */
export function eventOf(row: OutboxRow): AccountEvent {
  const type = typeOf(row)
  return {
    id: `${row.userId}/${type.idOf(row)}`,
    userId: row.userId,
    occurredAt: row.createdAt,
    ...type.event(row)
  }
}
