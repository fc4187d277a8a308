/** Callers that a client certificate identifies (mTLS), by a name in it. */

import type { X509Certificate } from 'node:crypto'
import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type Caller, parseCallers } from '#common/rpc/callers.ts'

/** The connection of a call. */
export type Connection = Http2Session | Socket | undefined

// Node.js 24 quotes a name that contains a comma, a quotation mark or a control character, as JSON.
const alternativeName = /(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?=, |$)/y

/** The names of a certificate as `rpc.callers` has them: `dns=…`, `uri=…`, `cn=…`. */
export function certificateNames(certificate: Pick<X509Certificate, 'subjectAltName' | 'toLegacyObject'>): Set<string> {
  const names = new Set<string>()
  const text = certificate.subjectAltName ?? ''
  alternativeName.lastIndex = 0
  for (let match = alternativeName.exec(text); match !== null; match = alternativeName.exec(text)) {
    const [, kind, quoted = ''] = match
    const value = quoted.startsWith('"') ? (JSON.parse(quoted) as string) : quoted
    if (kind === 'DNS') names.add(`dns=${value.toLowerCase()}`)
    if (kind === 'URI') names.add(`uri=${value}`)
  }
  const { CN } = certificate.toLegacyObject().subject as { CN?: unknown }
  // Several common names identify none.
  if (typeof CN === 'string') names.add(`cn=${CN}`)
  return names
}

/** Finds the caller of a connection; undefined without a valid certificate that an entry names. */
export type CertificateCheck = (connection: Connection) => Caller | undefined

/** The first entry of `rpc.callers` with a name of the certificate is the caller. The result of a connection is kept. */
export function certificateCheck(callers: readonly string[]): CertificateCheck {
  const entries = parseCallers(callers).flatMap(({ certificate, name, permits }) =>
    certificate === undefined ? [] : [{ certificate, caller: { name, permits } }]
  )
  if (entries.length === 0) return () => undefined
  const known = new WeakMap<object, { caller: Caller | undefined }>()
  return (connection) => {
    if (connection === undefined) return undefined
    const found = known.get(connection)
    if (found) return found.caller
    const certificate = certificateOf(connection)
    const names = certificate ? certificateNames(certificate) : new Set<string>()
    const caller = entries.find((entry) => names.has(entry.certificate))?.caller
    known.set(connection, { caller })
    return caller
  }
}

/** Whether the peer of a connection has presented a valid certificate. */
export function hasCertificate(connection: Connection): boolean {
  return connection !== undefined && certificateOf(connection) !== undefined
}

function certificateOf(connection: NonNullable<Connection>): X509Certificate | undefined {
  if (connection instanceof TLSSocket) return connection.authorized ? connection.getPeerX509Certificate() : undefined
  if (!('encrypted' in connection) || connection.destroyed || !connection.encrypted) return undefined
  const socket = connection.socket as TLSSocket
  return socket.authorized ? socket.getPeerX509Certificate() : undefined
}
