/** Requests for raw-client.ts. Each comes from a client address of its own, so that no rate limit counts two of them. */

import { emailOf, password } from './population.ts'
import type { Product } from './product.ts'
import { rawRequest } from './raw-http.ts'

let [clients, registered] = [0, 0]

/** Logins of accounts of a group, at random. */
export function logInRequests(product: Product, group: string, accounts: number, count: number): string[] {
  return Array.from({ length: count }, () => {
    const email = emailOf(group, 1 + Math.floor(Math.random() * accounts))
    return rawRequest('POST', product.route('/auth'), forwarded(), { email, password })
  })
}

/** Registrations of accounts that exist nowhere yet. */
export function registrationRequests(product: Product, count: number): string[] {
  return Array.from({ length: count }, () => {
    registered += 1
    return rawRequest('POST', product.route('/reg'), forwarded(), {
      email: emailOf('registered', registered),
      password
    })
  })
}

/** A logout of each session. */
export function logOutRequests(product: Product, tokens: readonly string[]): string[] {
  return tokens.map((token) => {
    const headers = { authorization: `Bearer ${token}`, ...forwarded() }
    return rawRequest('DELETE', product.route('/logout'), headers)
  })
}

/** A validation of each session, at a gateway or at the no-op; no rate limit counts these. */
export function validationRequests(url: string, tokens: readonly string[]): string[] {
  return tokens.map((token) => rawRequest('GET', url, { authorization: `Bearer ${token}` }))
}

/** Of 172.16.0.0/12, which has a million addresses. The clients of storms have others. */
function forwarded(): { 'x-forwarded-for': string } {
  clients += 1
  const numbers = [16 + ((clients >> 16) & 15), (clients >> 8) & 255, clients & 255]
  return { 'x-forwarded-for': `172.${numbers.join('.')}` }
}
