/** A product with accounts of every state, for the measurement of response times. */

import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { hashSync } from '@node-rs/bcrypt'
import postgres from 'postgres'
import { createProduct, longBudgets, newAddress, password } from '../../support/product.ts'
import type { PartOptions } from '../part.ts'

export type TimedProduct = Awaited<ReturnType<typeof startTimedProduct>>

/** The states of accounts; the addresses are `<state>-<number>@example.org`. */
export const states = ['usual', 'disabled', 'passwordless', 'imported', 'refused', 'cheaper', 'taken'] as const
export type State = (typeof states)[number]
export const emailOf = (state: State, number: number) => `${state}-${number}@example.org`

export const wrongPassword = 'wrong password 1'

let networks = 0
/** The header of a client in a network that no other request has; an address of 16.0.0.0/5. */
export function fromNewNetwork(): Record<string, string> {
  networks += 1
  const bytes = [16 + (networks >> 24), (networks >> 16) & 255, (networks >> 8) & 255, networks & 255]
  return { 'x-forwarded-for': bytes.join('.') }
}

/** Variables of user-svc that remove decoys. @param names see without-decoys.ts */
export const withoutDecoys = (...names: string[]): Record<string, string> => ({
  NODE_OPTIONS: `--import=${join(import.meta.dirname, 'without-decoys.ts')}`,
  DECOYS_REMOVED: names.join(',')
})

interface Options {
  /** bcrypt cost of new hashes. */
  cost: number
  /** Accounts of each state. */
  accounts: number
  /** Further variables of user-svc. */
  userSvc?: Record<string, string>
}

/** Starts the product with the default settings for attackers: the gate, the rate limits and emails are on. */
export async function startTimedProduct(t: PartOptions['t'], { cost, accounts, userSvc = {} }: Options) {
  const mailKey = `a:${randomBytes(32).toString('base64')}`
  const product = await createProduct(t, {
    ...longBudgets,
    GATEWAY_BUDGETS_PASSWORD: '20s',
    GATEWAY_BUDGETS_ACCOUNT: '20s',
    LOG_STDOUT: 'error',
    GATEWAY_RATE_LIMIT_ENABLED: 'true',
    GATEWAY_TRUSTED_PROXIES: '127.0.0.0/8',
    USER_SVC_PASSWORD_COST: String(cost),
    MAIL_FROM: 'auth@example.org',
    MAIL_LINKS_VERIFY: 'https://app.example.org/verify#{token}',
    MAIL_LINKS_RESET: 'https://app.example.org/reset#{token}',
    MAIL_KEYS: mailKey
  })
  const mail = join(product.dataDir, 'mail')
  mkdirSync(mail)
  product.env.MAIL_URL = `file:${mail}`
  product.settings.set('user-svc', userSvc)
  await product.startAll()
  const sql = postgres(String(product.env.USER_SVC_POSTGRES_URL), { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  const { email } = await product.register()
  const [row] = await sql<{ password_hash: string }[]>`select password_hash from users where email = ${email}`
  await addAccounts(sql, accounts, row?.password_hash as string, cost)

  async function send(path: string, json: object, headers: Record<string, string>): Promise<Response> {
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(json)
    }
    return fetch(`http://127.0.0.1:${product.ports.rest}${path}`, init)
  }

  /** Sends wrong passwords for an address from a network. */
  async function guess(address: string, network: Record<string, string>, times: number): Promise<void> {
    for (let count = 0; count < times; count += 1) {
      const { status } = await send('/auth', { email: address, password: wrongPassword }, network)
      if (status !== 401) throw new Error(`a wrong password was answered ${status}`)
    }
  }

  return {
    sql,
    port: product.ports.rest,

    /** Restarts user-svc with further variables. */
    async restartUserSvc(variables: Record<string, string>): Promise<void> {
      await product.stop('user-svc')
      product.settings.set('user-svc', variables)
      product.start('user-svc')
      for (const name of ['user-svc', 'gateway'] as const) await product.untilReady(name)
    },

    /** A session of a new account, as the header of a request. */
    async newSession(): Promise<{ email: string; authorization: string; id: string }> {
      const credentials = { email: newAddress(), password }
      const { session } = (await (await send('/reg', credentials, fromNewNetwork())).json()) as {
        session: { token: string; id: string }
      }
      return { email: credentials.email, authorization: `Bearer ${session.token}`, id: session.id }
    },

    /** @returns a network whose next guess at the address is refused */
    async exhaustNetwork(address: string): Promise<Record<string, string>> {
      const network = fromNewNetwork()
      await guess(address, network, 5)
      return network
    },

    /** Afterwards, guesses at the address are refused, but one in 20 seconds. */
    async exhaustAccount(address: string): Promise<void> {
      for (let network = 0; network < 12; network += 1) await guess(address, fromNewNetwork(), 5)
      for (let network = 0; network < 3; network += 1) await guess(address, fromNewNetwork(), 1)
    },

    /** @returns a network with a recent failure */
    async failingNetwork(): Promise<Record<string, string>> {
      const network = fromNewNetwork()
      await guess(newAddress(), network, 1)
      return network
    }
  }
}

async function addAccounts(sql: postgres.Sql, count: number, usual: string, cost: number): Promise<void> {
  const hashes: Record<State, string> = {
    ...{ usual, disabled: usual, refused: usual, taken: usual, passwordless: 'none' },
    imported: hashSync(password, { cost }),
    cheaper: hashSync(password, { cost: Math.max(4, cost - 1) })
  }
  for (const state of states) {
    const disabledAt = state === 'disabled' ? new Date() : null
    await sql`
      insert into users (id, email, password_hash, session_epoch, disabled_at)
      select gen_random_uuid(), ${state} || '-' || number || '@example.org', ${hashes[state]}, 0, ${disabledAt}
      from generate_series(1, ${count}::int) number`
  }
  await sql`vacuum analyze users`
}
