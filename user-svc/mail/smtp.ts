/** Sends an email to the configured mail server, over a connection of its own. Every wait has a limit. */

import SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { SmtpServer } from '#common/config/mail-section.ts'
import { MailError, mailErrorOf } from './mail-error.ts'
import type { Deliver } from './message.ts'

/** Limits, in milliseconds. */
interface SmtpTimeouts {
  /** From the lookup of the name to the end of the TLS handshake. */
  setupMs: number
  /** For each reply. */
  replyMs: number
}

const defaultTimeouts: SmtpTimeouts = { setupMs: 20_000, replyMs: 40_000 }

/**
 * Delivers emails by SMTP.
 *
 * @param sender the address of `mail.from`; its domain is the name of the client in EHLO
 */
export function createSmtpDelivery(
  server: SmtpServer,
  sender: string,
  { setupMs, replyMs }: SmtpTimeouts = defaultTimeouts
): Deliver {
  const { host, port, implicitTls, requireTls, credential } = server
  const options = {
    host,
    port,
    name: sender.slice(sender.lastIndexOf('@') + 1),
    secure: implicitTls,
    requireTLS: requireTls && !implicitTls,
    opportunisticTLS: !requireTls,
    tls: { minVersion: 'TLSv1.2', rejectUnauthorized: requireTls },
    dnsTimeout: setupMs,
    connectionTimeout: setupMs,
    greetingTimeout: setupMs,
    socketTimeout: replyMs,
    maxResponseSize: 65_536,
    logger: false
  } as const

  async function logIn(connection: SMTPConnection): Promise<void> {
    if (credential === undefined) return
    if (!connection.allowsAuth) throw new MailError('authentication', { affectsAll: true })
    const auth = { user: credential.user, pass: credential.password }
    await settled((done) => connection.login(auth, done))
  }

  return async ({ recipient, content }, signal) => {
    const connection = new SMTPConnection(options)
    const { promise: ended, reject } = Promise.withResolvers<never>()
    ended.catch(() => {})
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    // It also stays attached after the last command: without a listener, an error would end the process.
    connection.on('error', reject)
    let phase: 'connect' | 'send' = 'connect'
    try {
      signal.throwIfAborted()
      await Promise.race([ended, settled((done) => connection.connect(done))])
      await Promise.race([ended, logIn(connection)])
      phase = 'send'
      const envelope = { from: sender, to: [recipient] }
      await Promise.race([ended, settled((done) => connection.send(envelope, content, done))])
      connection.quit()
    } catch (error) {
      connection.close()
      throw mailErrorOf(error, phase)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** The promise of a function that takes a callback. */
function settled(start: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())))
}
