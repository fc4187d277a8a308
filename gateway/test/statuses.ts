/** Sends requests to a gateway in turn, for the statuses of their responses. */

import type { FastifyInstance, InjectOptions } from 'fastify'
import { credentials } from './gateway.ts'

/** Sends requests in turn. @returns the statuses */
export async function statusesOf(app: FastifyInstance, requests: InjectOptions[]): Promise<number[]> {
  const statuses: number[] = []
  for (const request of requests) statuses.push((await app.inject(request)).statusCode)
  return statuses
}

/** Logs in once from each peer, or for each claimed address, and returns the statuses. */
export async function logins(app: FastifyInstance, peers: string[], claims: (string | undefined)[] = [undefined]) {
  const statuses: number[] = []
  for (const remoteAddress of peers) {
    for (const claim of claims) {
      const headers = claim === undefined ? {} : { 'x-forwarded-for': claim }
      const request = { method: 'POST', url: '/auth', payload: credentials, remoteAddress, headers } as const
      statuses.push((await app.inject(request)).statusCode)
    }
  }
  return statuses
}
