/** Wrong passwords of logged-in users, and guesses at accounts whose guesses are refused. */

import { newAddress } from '../../support/product.ts'
import { emailOf, fromNewNetwork, wrongPassword } from './accounts.ts'
import { changeEmail, inTurn, logIn, overLong, type Preparation, poolOf } from './groups.ts'
import type { Group, Request } from './sampling.ts'

const samplesPerSession = 50

const changePassword = (session: { authorization: string }, currentPassword = wrongPassword): Request => ({
  method: 'PUT',
  path: '/password',
  body: { currentPassword, newPassword: 'another good password' },
  headers: { authorization: session.authorization, ...fromNewNetwork() }
})

/** Sessions for wrong passwords, in turn. */
async function sessionsOf({ product, count }: Preparation, kinds: number) {
  const sessions = await poolOf((kinds * count) / samplesPerSession, product.newSession)
  let next = 0
  return () => inTurn(sessions, ++next)
}

/** Wrong passwords of logged-in users. */
export async function passwordGroups(preparation: Preparation): Promise<Group[]> {
  const session = await sessionsOf(preparation, 4)
  return [
    {
      name: 'PUT /password',
      status: 403,
      kinds: {
        'wrong password': () => changePassword(session()),
        'over-long password': () => changePassword(session(), overLong)
      }
    },
    {
      name: 'PUT /email, wrong password',
      status: 403,
      kinds: {
        'free address': () => changeEmail(session(), newAddress()),
        'taken address': (number) => changeEmail(session(), emailOf('taken', number))
      }
    }
  ]
}

/** Guesses at accounts whose guesses are refused: the statements for their rows with a hundred guesses take 0.2 to 0.4 ms longer. */
export async function refusedGroups(preparation: Preparation): Promise<Group[]> {
  const { product } = preparation
  const session = await sessionsOf(preparation, 2)
  const refused = await poolOf(3, product.newSession)
  const unknown = [newAddress(), newAddress(), newAddress()]
  for (const email of [...refused.map(({ email }) => email), ...unknown]) await product.exhaustAccount(email)
  return [
    {
      name: 'POST /auth, refused account',
      status: 401,
      kinds: {
        'unknown address': () => logIn(newAddress(), fromNewNetwork()),
        'refused account': (number) => logIn(inTurn(refused, number).email, fromNewNetwork()),
        'refused account, unknown address': (number) => logIn(inTurn(unknown, number), fromNewNetwork())
      }
    },
    {
      name: 'PUT /password, refused account',
      status: 403,
      kinds: {
        'wrong password': () => changePassword(session()),
        'refused account': (number) => changePassword(inTurn(refused, number))
      }
    },
    {
      name: 'PUT /email, refused account',
      status: 403,
      kinds: {
        'free address': () => changeEmail(session(), newAddress()),
        'refused account': (number) => changeEmail(inTurn(refused, number), newAddress())
      }
    }
  ]
}
