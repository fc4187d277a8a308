/** Requests for raw-client.ts. Each has its own client address, so that the rate limits do not apply. */

import { emailOf, password } from './population.ts'
import type { Product } from './product.ts'
import { rawRequest } from './raw-http.ts'

let [clients, registered] = [0, 0]

/** Logins of the accounts of a group. With fewer requests than accounts, they are spread evenly over the accounts. */
export function logInRequests(product: Product, group: string, accounts: number, count: number): string[] {
  const step = Math.max(1, Math.floor(accounts / count))
  return Array.from({ length: count }, (_, index) => {
    const email = emailOf(group, 1 + ((index * step) % accounts))
    return rawRequest('POST', product.route('/auth'), forwarded(), { email, password })
  })
}

/** Registrations of new accounts. */
export function registrationRequests(product: Product, count: number): string[] {
  return Array.from({ length: count }, () => {
    registered += 1
    const email = emailOf('registered', registered)
    return rawRequest('POST', product.route('/reg'), forwarded(), { email, password })
  })
}

/** A logout of each session. */
export function logOutRequests(product: Product, tokens: readonly string[]): string[] {
  return tokens.map((token) => {
    const headers = { authorization: `Bearer ${token}`, ...forwarded() }
    return rawRequest('DELETE', product.route('/logout'), headers)
  })
}

/** A validation of each session, at a gateway or at the no-op. Validations have no rate limit. */
export function validationRequests(url: string, tokens: readonly string[]): string[] {
  return tokens.map((token) => rawRequest('GET', url, { authorization: `Bearer ${token}` }))
}

/** An address of 172.16.0.0/12, which has a million. */
export function forwarded(): { 'x-forwarded-for': string } {
  clients += 1
  const numbers = [16 + ((clients >> 16) & 15), (clients >> 8) & 255, clients & 255]
  return { 'x-forwarded-for': `172.${numbers.join('.')}` }
}
