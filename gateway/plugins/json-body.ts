/** Reads JSON bodies as they are: UTF-8 only, each key once, well-formed Unicode. */

import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { invalidFields } from '#common/errors/connect-errors.ts'
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

/**
 * Accepts JSON bodies only, and those only on routes whose schema has a body. An empty body has no type on any route,
 * whatever `Content-Type` and framing the client sent with it. The body of a route that takes none must be empty, or `{}`
 * as JSON, which some HTTP libraries send with every DELETE.
 */
export function acceptJsonOnly(app: FastifyInstance): void {
  app.addHook('preParsing', async (request, _reply, payload) => {
    const { raw } = request
    if (await isEmpty(raw)) {
      for (const name of bodyHeaders) delete raw.headers[name]
    } else if (!takesBody(request) && (isBodyless.has(request.method) || !isJson.test(typeOf(request)))) {
      throw unexpectedBody()
    }
    return payload
  })
  app.addHook('preValidation', async (request) => {
    const { body } = request
    if (body !== undefined && !takesBody(request) && !isEmptyObject(body)) throw unexpectedBody()
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const charsets = [...typeOf(request).matchAll(/;\s*charset\s*=\s*"?([^\s;"]+)/gi)]
    // The gateway decompresses nothing (RFC 9110, 15.5.16).
    if (!/^(?:identity)?$/i.test(request.headers['content-encoding'] ?? '')) return done(new HttpRefusal(415))
    // Of two charsets, another reader can follow the other one.
    if (charsets.length > 1 || !charsets.every(([, name]) => /^utf-?8$/i.test(String(name)))) {
      return done(new HttpRefusal(415))
    }
    try {
      done(null, parseJsonBody(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })
}

// What describes a body; without one, Fastify parses none.
const bodyHeaders = ['content-type', 'content-length', 'transfer-encoding'] as const
// Fastify parses no body of these.
const isBodyless = new Set(['GET', 'HEAD'])
const isJson = /^application\/json\s*(;|$)/i

const typeOf = ({ headers }: FastifyRequest) => headers['content-type'] ?? ''

const takesBody = (request: FastifyRequest) => request.routeOptions.schema?.body !== undefined

function isEmptyObject(body: unknown): boolean {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0
}

const unexpectedBody = () => refuse('must be empty: this route takes none')

/** Waits for the first byte of a body only if its length is unknown. */
function isEmpty(raw: IncomingMessage): boolean | Promise<boolean> {
  const { 'content-length': length, 'transfer-encoding': coding } = raw.headers
  if (coding === undefined) return length === undefined || Number(length) === 0
  return new Promise((resolve) => {
    const settle = (empty: boolean) => {
      raw.off('readable', onReadable)
      for (const event of ends) raw.off(event, onEnd)
      resolve(empty)
    }
    const onEnd = () => settle(true)
    const onReadable = () => {
      const chunk = raw.read()
      if (chunk === null) return
      raw.unshift(chunk)
      settle(false)
    }
    raw.on('readable', onReadable)
    for (const event of ends) raw.once(event, onEnd)
  })
}

const ends = ['end', 'error', 'close'] as const
