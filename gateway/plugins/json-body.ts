/** Accepts JSON bodies only: UTF-8, each key once, well-formed Unicode. */

import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { invalidFields } from '#common/errors/connect-errors.ts'
import { HttpRefusal } from '../problem.ts'

// Every string, and the colon after the name of a member. The match of a whole string skips its contents.
const strings = /"(?:[^"\\]|\\.)*"([ \t\r\n]*:)?/g

/** @throws ConnectError `invalid_argument`, without the text of the body */
export function parseJsonBody(body: Buffer): unknown {
  if (!isUtf8(body)) throw invalidBody('must be UTF-8')
  const text = body.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalidBody('must be valid JSON')
  }
  let keys = 0
  for (const node of nodesOf(value)) {
    if (typeof node === 'string' && !node.isWellFormed()) throw invalidBody('must hold well-formed Unicode only')
    if (typeof node === 'object' && node !== null && !Array.isArray(node)) keys += Object.keys(node).length
  }
  // JSON.parse keeps one of two members with the same name: more names than keys are duplicates.
  let names = 0
  for (const [, colon] of text.matchAll(strings)) if (colon !== undefined) names += 1
  if (names > keys) throw invalidBody('must hold each key once')
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

function invalidBody(description: string) {
  return invalidFields([{ field: 'body', description }])
}

/**
 * Accepts a JSON body on routes whose schema has a body. On the other routes, a body must be empty, or `{}` as JSON, which
 * some HTTP libraries send with every DELETE. An empty body has no type, whatever `Content-Type` and framing it has.
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
    if (!isPlainUtf8(request)) return done(new HttpRefusal(415))
    try {
      done(null, parseJsonBody(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })
}

// Fastify parses no body without these headers.
const bodyHeaders = ['content-type', 'content-length', 'transfer-encoding'] as const
// Fastify parses no body of these methods.
const isBodyless = new Set(['GET', 'HEAD'])
const isJson = /^application\/json\s*(;|$)/i

const typeOf = ({ headers }: FastifyRequest) => headers['content-type'] ?? ''

const takesBody = (request: FastifyRequest) => request.routeOptions.schema?.body !== undefined

/** Without content coding (RFC 9110, 15.5.16) and in UTF-8. Two charsets are ambiguous: a proxy can read the other one. */
function isPlainUtf8(request: FastifyRequest): boolean {
  const charsets = [...typeOf(request).matchAll(/;\s*charset\s*=\s*"?([^\s;"]+)/gi)]
  const isUtf8Only = charsets.length <= 1 && charsets.every(([, name]) => /^utf-?8$/i.test(String(name)))
  return isUtf8Only && /^(?:identity)?$/i.test(request.headers['content-encoding'] ?? '')
}

function isEmptyObject(body: unknown): boolean {
  return typeof body === 'object' && body !== null && !Array.isArray(body) && Object.keys(body).length === 0
}

const unexpectedBody = () => invalidBody('must be empty: this route takes none')

/**
 * Waits for the first byte of a body if its length is unknown. With `optimizeEmptyRequests` of Node.js, the stream of a
 * request without a body has ended already, and a parser would wait for ever.
 */
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
