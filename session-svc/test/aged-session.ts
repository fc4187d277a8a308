/** Stored sessions that a test reads and changes in Redis, so that no test waits for a session to age. */

import { parseToken } from '#common/session/session-token.ts'
import { parseStoredSession, type StoredSession, userKeys } from '../stored-session.ts'
import type { startSessionSvc } from './service.ts'

export type Service = Pick<Awaited<ReturnType<typeof startSessionSvc>>, 'client' | 'redis'>

export const sessionsKey = (userId: string) => userKeys(userId)[0]
export const epochKey = (userId: string) => userKeys(userId)[1]
export const hashOf = (token: string) => parseToken(token)?.hash ?? ''

/** The stored value of a session; undefined if there is none. */
export async function storedValue({ redis }: Pick<Service, 'redis'>, token: string): Promise<string | undefined> {
  const { userId = '', hash = '' } = parseToken(token) ?? {}
  return (await redis.hGetAll(sessionsKey(userId)))[hash]
}

/** The stored numbers of a session. */
export async function storedSession(service: Pick<Service, 'redis'>, token: string): Promise<StoredSession> {
  const stored = parseStoredSession((await storedValue(service, token)) ?? '')
  if (stored === undefined) throw new Error('no well-formed session is stored')
  return stored
}

export async function storeValue({ redis }: Pick<Service, 'redis'>, token: string, value: string): Promise<void> {
  const { userId = '', hash = '' } = parseToken(token) ?? {}
  await redis.hSet(sessionsKey(userId), hash, value)
}

/** Changes a stored session as if it had been created, and used last, so many milliseconds earlier. */
export async function ageSession(service: Pick<Service, 'redis'>, token: string, age: Age): Promise<void> {
  const { epoch, createdAt, lastSeenAt, expiresAt } = await storedSession(service, token)
  const times = [createdAt - age.createdMs, lastSeenAt - age.usedMs, expiresAt - age.createdMs]
  const value = (await storedValue(service, token)) ?? ''
  await storeValue(service, token, value.replace(/^\d+ \d+ \d+ \d+/, [epoch, ...times].join(' ')))
}

export interface Age {
  createdMs: number
  usedMs: number
}

/** Creates a session that was created, and used last, so many milliseconds ago. @returns its token */
export async function createAged(service: Service, userId: string, age: Age): Promise<string> {
  const { token } = await service.client.createSession({ userId })
  await ageSession(service, token, age)
  return token
}
