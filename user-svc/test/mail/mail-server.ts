/** A real mail server on a free port of 127.0.0.1, with a certificate of a certificate authority that exists for the test. */

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { domainToASCII } from 'node:url'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import type { Test } from 'tap'
import type { SmtpServer } from '#common/config/mail-section.ts'
import type { Message } from '../../mail/message.ts'

/** The reason to skip the tests that need certificates. */
export const noOpenssl = spawnSync('openssl', ['version']).status !== 0 && 'openssl is not installed'

interface Certificate {
  key: string
  cert: string
}

const folder = mkdtempSync(join(tmpdir(), 'mail-'))
const at = (name: string) => join(folder, name)
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'ignore' })
const newKey = (name: string) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(name)]

/** A certificate that the authority has signed, for the names. */
function certificateFor(name: string, altNames: string): Certificate {
  const [key, cert, request, extensions] = [at(`${name}.key`), at(`${name}.crt`), at(`${name}.csr`), at(`${name}.ext`)]
  writeFileSync(extensions, `subjectAltName=${altNames}\n`)
  openssl('req', '-new', ...newKey(`${name}.key`), '-out', request, '-subj', `/CN=${name}`)
  const authority = ['-CA', at('ca.crt'), '-CAkey', at('ca.key'), '-CAcreateserial']
  openssl('x509', '-req', '-in', request, ...authority, '-days', '2', '-extfile', extensions, '-out', cert)
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
}

function createCertificates(): { valid: Certificate; foreign: Certificate; selfSigned: Certificate } {
  openssl('req', '-x509', ...newKey('ca.key'), '-out', at('ca.crt'), '-days', '2', '-subj', '/CN=test authority')
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1']
  openssl('req', '-x509', ...newKey('self.key'), '-out', at('self.crt'), '-days', '2', ...subject)
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(at('ca.crt'), 'utf8')])
  return {
    valid: certificateFor('valid', 'DNS:localhost,IP:127.0.0.1'),
    foreign: certificateFor('foreign', 'DNS:other.example.org'),
    selfSigned: { key: readFileSync(at('self.key'), 'utf8'), cert: readFileSync(at('self.crt'), 'utf8') }
  }
}

/** Certificates for 127.0.0.1 (`valid`, `selfSigned`) and another name; this process trusts the authority. */
export const certificates = noOpenssl ? undefined : createCertificates()

/** An email as the server received it. */
export interface Received {
  from: string
  to: string[]
  content: string
  isSecure: boolean
  user: string | undefined
}

export const sender = 'auth@example.org'

/** An email for tests that compose none. */
export const message = (recipient = 'ada@example.org'): Message => ({
  id: '01999999-0000-7000-8000-000000000000',
  recipient,
  content: Buffer.from(`To: ${recipient}\r\nSubject: x\r\n\r\nA line.\r\n.\r\nThe line after a dot.\r\n`)
})

/** Starts a mail server; it ends with the test. Its options are those of smtp-server. */
export async function startMailServer(t: Pick<Test, 'teardown'>, options: SMTPServerOptions = {}) {
  const received: Received[] = []
  const server = new SMTPServer({
    ...certificates?.valid,
    authOptional: true,
    disableReverseLookup: true,
    logger: false,
    // Otherwise the close waits 30 s for open connections.
    closeTimeout: 100,
    onAuth: ({ username }, _session, done) => done(null, { user: username }),
    onData(stream, session, done) {
      const chunks: Buffer[] = []
      stream.on('data', (chunk) => chunks.push(chunk))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        received.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => asciiAddress(address)),
          content: Buffer.concat(chunks).toString('latin1'),
          isSecure: session.secure,
          user: session.user
        })
        done()
      })
    },
    ...options
  })
  // Clients that break a connection off.
  server.on('error', () => {})
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  const close = () => new Promise<void>((closed) => server.close(closed))
  t.teardown(close)
  const { port } = server.server.address() as { port: number }

  const sockets = new Set<Socket>()
  server.server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })

  /** Resets the connection of a session. */
  function reset({ remotePort }: { remotePort: number }): void {
    for (const socket of sockets) if (socket.remotePort === remotePort) socket.resetAndDestroy()
  }

  return { received, port, close, reset, address: (more: Partial<SmtpServer> = {}) => addressOf(port, more) }
}

/** smtp-server shows a domain in Unicode. */
function asciiAddress(address: string): string {
  const at = address.lastIndexOf('@')
  return `${address.slice(0, at)}@${domainToASCII(address.slice(at + 1))}`
}

/** The configured address of a server at a port of 127.0.0.1. */
export function addressOf(port: number, more: Partial<SmtpServer> = {}): SmtpServer {
  return { host: '127.0.0.1', port, implicitTls: false, requireTls: true, ...more }
}

/** A server that accepts connections and never writes a byte. @returns its port */
export async function startFrozenServer(t: Pick<Test, 'teardown'>): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

/** A port of 127.0.0.1 on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createServer()
  const { promise: listening, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await listening
  const { port } = server.address() as { port: number }
  await new Promise((closed) => server.close(closed))
  return port
}
