/**
 * The kinds of logins, registrations and requests for emails whose response times must not show whether an account exists, by route.
 * Routes without a comparison: by default, `POST /reg` answers 409 for a taken address, so that its time adds nothing; without an address
 * or a token, `/openapi.json`, `/docs` and unknown paths have no account to show. A correct token shows its owner's data.
 */

import { newAddress, password } from '../../support/product.ts'
import { emailOf, fromNewNetwork, type State, type TimedProduct, wrongPassword } from './accounts.ts'
import type { Group, Request } from './sampling.ts'

// Below the 30 guesses of a network in a minute, and the 60 of an account.
const samplesPerNetwork = 20
export const overLong = 'x'.repeat(300)

export interface Preparation {
  product: TimedProduct
  /** The number of samples of a kind, and of those that warm up. */
  count: number
}

type Headers = Record<string, string>

export const logIn = (email: string, headers: Headers, written = wrongPassword): Request => ({
  method: 'POST',
  path: '/auth',
  body: { email, password: written },
  headers
})

/** Wrong passwords for accounts of a state, each from a network of its own. */
const guessAt = (state: State) => (number: number) => logIn(emailOf(state, number), fromNewNetwork())

/** The request number `number` uses one of a pool. */
export const inTurn = <T>(pool: T[], number: number, each = 1) =>
  pool[Math.floor((number - 1) / each) % pool.length] as T

export function poolOf<T>(size: number, make: (index: number) => Promise<T>): Promise<T[]> {
  return Array.from({ length: Math.max(1, Math.ceil(size)) }).reduce<Promise<T[]>>(
    async (before, _, index) => [...(await before), await make(index)],
    Promise.resolve([])
  )
}

/** Logins with every kind of wrong credentials. */
export async function loginGroup({ product, count }: Preparation): Promise<Group> {
  const networks = count / samplesPerNetwork
  const failing = await poolOf(networks, product.failingNetwork)
  const pairOf = async (email: string) => ({ email, network: await product.exhaustNetwork(email) })
  const known = await poolOf(networks, (index) => pairOf(emailOf('refused', index + 1)))
  const unknown = await poolOf(networks, () => pairOf(newAddress()))
  const refused = (pool: typeof known) => (number: number) => {
    const { email, network } = inTurn(pool, number, samplesPerNetwork)
    return logIn(email, network)
  }
  return {
    name: 'POST /auth',
    status: 401,
    kinds: {
      'unknown address': () => logIn(newAddress(), fromNewNetwork()),
      'wrong password': guessAt('usual'),
      disabled: guessAt('disabled'),
      'without a password': guessAt('passwordless'),
      'imported hash': guessAt('imported'),
      'over-long password': (number) => logIn(emailOf('taken', number), fromNewNetwork(), overLong),
      'over-long password, unknown address': () => logIn(newAddress(), fromNewNetwork(), overLong),
      'failing network': (number) => logIn(newAddress(), inTurn(failing, number, samplesPerNetwork)),
      'refused network': refused(known),
      'refused network, unknown address': refused(unknown)
    },
    against: {
      'over-long password, unknown address': 'over-long password',
      'refused network': 'failing network',
      'refused network, unknown address': 'refused network'
    }
  }
}

/** Logins with hashes of two costs. The check of the cheaper one has a further part, which starts 0.2 to 0.4 ms later. */
export function costGroup(): Group {
  return {
    name: 'POST /auth, costs of hashes',
    status: 401,
    kinds: {
      'unknown address': () => logIn(newAddress(), fromNewNetwork()),
      'wrong password': guessAt('usual'),
      'hash of an older cost': guessAt('cheaper')
    }
  }
}

/** Logins that need no preparation. */
export function shortGroup(): Group {
  return {
    name: 'POST /auth',
    status: 401,
    kinds: {
      'wrong password': guessAt('usual'),
      disabled: guessAt('disabled'),
      'hash of an older cost': guessAt('cheaper'),
      'unknown address': () => logIn(newAddress(), fromNewNetwork()),
      'without a password': guessAt('passwordless'),
      'over-long password': (number) => logIn(emailOf('taken', number), fromNewNetwork(), overLong)
    }
  }
}

export const changeEmail = (session: { authorization: string }, email: string, written = wrongPassword): Request => ({
  method: 'PUT',
  path: '/email',
  body: { email, password: written },
  headers: { authorization: session.authorization, ...fromNewNetwork() }
})

/** Registrations with `userSvc.registration.concealTaken`. */
export function concealedGroup(): Group {
  const register = (email: string): Request => ({
    method: 'POST',
    path: '/reg',
    body: { email, password },
    headers: fromNewNetwork()
  })
  const limited = emailOf('imported', 1)
  return {
    name: 'POST /reg, concealed',
    status: 202,
    kinds: {
      'free address': () => register(newAddress()),
      'taken address': (number) => register(emailOf('taken', number)),
      'taken address, over its limit': () => register(limited),
      'disabled account': (number) => register(emailOf('disabled', number))
    }
  }
}

/** Requests for emails. */
export async function emailGroups({ product }: Preparation): Promise<Group[]> {
  const ask = (email: string): Request => ({
    method: 'POST',
    path: '/password/reset',
    body: { email },
    headers: fromNewNetwork()
  })
  const session = await product.newSession()
  const limited = newAddress()
  return [
    {
      name: 'POST /password/reset',
      status: 202,
      kinds: {
        'unknown address': () => ask(newAddress()),
        known: (number) => ask(emailOf('usual', number)),
        disabled: (number) => ask(emailOf('disabled', number))
      }
    },
    {
      name: 'POST /password/reset, over the limit of the address',
      status: 202,
      kinds: { 'unknown address': () => ask(limited), known: () => ask(emailOf('imported', 1)) }
    },
    {
      name: 'PUT /email, correct password',
      status: 202,
      kinds: {
        'free address': () => changeEmail(session, newAddress(), password),
        'taken address': (number) => changeEmail(session, emailOf('taken', number), password)
      }
    }
  ]
}
