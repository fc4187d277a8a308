/** Generates many accounts and sessions like those of the services. */

import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { loadConfig } from '#common/config/load.ts'
import { createLogger } from '#common/logging/logger.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { session as sessionKeys } from '../session-svc/config.ts'
import { sessionScripts } from '../session-svc/scripts.ts'
import { createSessions } from '../session-svc/sessions.ts'
import type { Product } from './product.ts'

/** The password of every generated account. */
export const password = 'correct horse battery staple'

/** The address of a generated account; the numbers start at 1. */
export const emailOf = (group: string, number: number) => `${group}-${number}@example.org`

/** Direct access to the stores of a product. */
export type Stores = Awaited<ReturnType<typeof openStores>>

// More concurrent commands would only wait in this process.
const inFlight = 1000

/** Opens the stores. Generated sessions follow the default rules, but an account may have any number. */
export async function openStores(product: Product) {
  const log = createLogger('bench', 'silent')
  const redis = connectRedis(product.engineUrl('redis'), log, sessionScripts)
  if (!redis.isReady) await new Promise((resolve) => redis.once('ready', resolve))
  const rules = { ...loadConfig({ session: sessionKeys }, { CONFIG_FILE: '/dev/null' }).session, maxPerUser: 100_000 }
  const sessions = createSessions(redis, rules, log)
  const sql = postgres(product.engineUrl('postgres'), { max: 1, onnotice: () => {} })

  return {
    redis,
    sql,

    /** Creates sessions through the code of session-svc. @returns their tokens */
    async addSessions(count: number, userIdOf: (index: number) => string = () => randomUUID()): Promise<string[]> {
      const tokens: string[] = []
      const forever = new AbortController().signal
      for (let from = 0; from < count; from += inFlight) {
        const batch = Array.from({ length: Math.min(inFlight, count - from) }, (_, index) =>
          sessions.createSession(userIdOf(from + index), 0n, {}, forever)
        )
        for (const { token } of await Promise.all(batch)) tokens.push(token)
      }
      return tokens
    },

    /** Creates the accounts `first` to `last` of a group, with a password hash of user-svc. */
    async addAccounts(group: string, first: number, last: number, passwordHash: string): Promise<void> {
      // Ids of version 7, ordered by time like those of user-svc.
      await sql`
        insert into users (id, email, password_hash, session_epoch)
        select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint + number / 1000), 12, '0')
            || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,
          ${group} || '-' || number || '@example.org', ${passwordHash}, 0
        from generate_series(${first}::int, ${last}::int) number`
      await sql`vacuum analyze users`
    },

    /** Removes all keys of Redis, including the rate limits. */
    async removeSessions(): Promise<void> {
      // In the background: a synchronous flush would block Redis.
      await redis.flushDb('ASYNC')
    },

    /** Removes all accounts and events. */
    async removeAccounts(): Promise<void> {
      await sql`truncate users, outbox cascade`
    },

    async close(): Promise<void> {
      redis.destroy()
      await sql.end()
    }
  }
}

/** Registers an account. @returns its password hash */
export async function registeredHash(product: Product, { sql }: Stores): Promise<string> {
  const email = `${randomUUID()}@example.org`
  const response = await fetch(product.route('/reg'), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password })
  })
  if (response.status !== 201) throw new Error(`POST /reg answered ${response.status}: ${await response.text()}`)
  const [row] = await sql<{ password_hash: string }[]>`select password_hash from users where email = ${email}`
  return row?.password_hash as string
}
