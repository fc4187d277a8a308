/** Reads JSON bodies as they are: UTF-8 only, each key once, well-formed Unicode. */

import { isUtf8 } from 'node:buffer'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { invalidFields } from '#common/errors.ts'
import { HttpRefusal } from '../problem.ts'

// Every string, with the colon behind it if it is a member's name. Matching all of them keeps the scan out of their insides.
const strings = /"(?:[^"\\]|\\.)*"([ \t\r\n]*:)?/g

/**
 * Parses a body.
 *
 * @throws ConnectError `invalid_argument` that says what is wrong, never with the text itself
 */
export function parseJsonBody(body: Buffer): unknown {
  if (!isUtf8(body)) throw refuse('must be UTF-8')
  const text = body.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refuse('must be valid JSON')
  }
  let keys = 0
  for (const node of nodesOf(value)) {
    if (typeof node === 'string' && !node.isWellFormed()) throw refuse('must hold well-formed Unicode only')
    if (typeof node === 'object' && node !== null && !Array.isArray(node)) keys += Object.keys(node).length
  }
  // In valid JSON, a string before a colon is a member's name: more of them than keys means that some stand twice.
  let names = 0
  for (const [, colon] of text.matchAll(strings)) if (colon !== undefined) names += 1
  if (names > keys) throw refuse('must hold each key once')
  return value
}

function* nodesOf(root: unknown): Generator<unknown> {
  const pending = [root]
  while (pending.length > 0) {
    const node = pending.pop()
    yield node
    if (typeof node === 'object' && node !== null) {
      for (const [key, value] of Object.entries(node)) pending.push(key, value)
    }
  }
}

function refuse(description: string) {
  return invalidFields([{ field: 'body', description }])
}

/** The one kind of body that is taken; anything else is 415. */
export function acceptJsonOnly(app: FastifyInstance): void {
  // Of a request without a body Node.js has ended the stream already (`optimizeEmptyRequests`), without an event that says
  // so; whoever reads it, since there is a type, would wait for ever.
  app.addHook('preParsing', ({ raw }, _reply, payload, done) => {
    const isOver = raw.readableEnded && raw.headers['content-type'] !== undefined
    done(null, isOver ? Readable.from([]) : payload)
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const charset = /;\s*charset\s*=\s*"?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^utf-?8$/i.test(charset)) return done(new HttpRefusal(415))
    if (body.length === 0) return done(null, undefined)
    try {
      done(null, parseJsonBody(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })
}

/** A hook for routes that take no body: what is sent all the same is not dropped in silence. */
export async function refuseBody({ body }: FastifyRequest): Promise<void> {
  const isEmpty = body === undefined || (typeof body === 'object' && body !== null && Object.keys(body).length === 0)
  if (!isEmpty) throw refuse('must be empty: this route takes none')
}
