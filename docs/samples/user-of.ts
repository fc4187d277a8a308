/** The TypeScript sample of docs/guides/protect-an-app.md. */

import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { SessionService } from '#gen/session/v1/session_pb.ts'

const transport = createConnectTransport({
  baseUrl: process.env.SESSION_SVC_URL ?? 'http://127.0.0.1:50052',
  httpVersion: '2',
  defaultTimeoutMs: 1000,
  interceptors: [
    (next) => (request) => {
      request.header.set('authorization', `Bearer ${process.env.VALIDATION_TOKEN}`)
      return next(request)
    }
  ]
})
const sessions = createClient(SessionService, transport)

/** @returns the user's id, or undefined if the session is not valid. @throws ConnectError if it cannot be determined. */
export async function userOf(token: string): Promise<string | undefined> {
  const { result } = await sessions.validateSession({ token })
  if (result.case === 'session') return result.value.userId
  if (result.case === 'invalid') return undefined
  throw new Error('malformed response')
}
