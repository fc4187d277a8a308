/** The failure of one attempt to send an email: its kind, without any text of the mail server, which can hold an address. */

/** The kinds of failures; metrics and log lines name them. */
export const failureKinds = [
  'unreachable',
  'tls',
  'authentication',
  'sender-rejected',
  'timeout',
  'connection-lost',
  'deferred',
  'rejected',
  'unusable',
  'stopped',
  'internal'
] as const

export type FailureKind = (typeof failureKinds)[number]

interface MailErrorOptions {
  /** The reply code of the mail server. */
  reply?: number | undefined
  /** Whether every other email would fail too, for example because the server is down. */
  affectsAll?: boolean
  /** Whether a retry would fail too. */
  permanent?: boolean
}

/** An email was not sent, or the outcome is unknown. */
export class MailError extends Error {
  override name = 'MailError'
  readonly kind: FailureKind
  /** For the row: the reply code of the server, or the kind. */
  readonly failure: string
  readonly affectsAll: boolean
  readonly permanent: boolean

  constructor(kind: FailureKind, { reply, affectsAll = false, permanent = false }: MailErrorOptions = {}) {
    const failure = reply === undefined ? kind : String(reply)
    super(`failed to send an email: ${failure}`)
    this.kind = kind
    this.failure = failure
    this.affectsAll = affectsAll
    this.permanent = permanent
  }
}

/** The phases of a connection: no failure of the first depends on the email. */
type Phase = 'connect' | 'send'

/** The parts of an error of nodemailer that contain no text of the server. */
interface NodemailerFailure {
  code?: string
  originalCode?: string
  responseCode?: number
  command?: string
}

const tlsCodes = /CERT|TLS|SSL|EPROTO|ISSUER|SIGNATURE/

/** The MailError for an error of nodemailer. */
export function mailErrorOf(thrown: unknown, phase: Phase): MailError {
  if (thrown instanceof MailError) return thrown
  const { code = '', originalCode = '', responseCode: reply, command = '' } = (thrown ?? {}) as NodemailerFailure
  return phase === 'connect'
    ? new MailError(connectFailure(code, originalCode, reply), { reply, affectsAll: true })
    : sendFailure(code, reply, command)
}

function connectFailure(code: string, originalCode: string, reply: number | undefined): FailureKind {
  if (code === 'EAUTH' || code === 'ENOAUTH' || isAuthentication(reply)) return 'authentication'
  if (code === 'ETLS' || tlsCodes.test(originalCode)) return 'tls'
  if (code === 'ETIMEDOUT') return 'timeout'
  return reply === undefined ? 'unreachable' : 'deferred'
}

function sendFailure(code: string, reply: number | undefined, command: string): MailError {
  if (reply === undefined) {
    if (code === 'EENVELOPE' || code === 'EMESSAGE') return new MailError('unusable', { permanent: true })
    return new MailError(code === 'ETIMEDOUT' ? 'timeout' : 'connection-lost')
  }
  // 503 is about the order of commands. A full mailbox, 552, may have space later (RFC 5321, 4.5.3.1.10).
  if (reply < 500 || reply === 503 || reply === 552) return new MailError('deferred', { reply })
  // The server rejects the sender before it knows the recipient.
  if (command === 'MAIL FROM') {
    return new MailError(isAuthentication(reply) ? 'authentication' : 'sender-rejected', { reply, affectsAll: true })
  }
  return new MailError('rejected', { reply, permanent: true })
}

/** RFC 4954, 6. */
function isAuthentication(reply: number | undefined): boolean {
  return reply !== undefined && [530, 534, 535, 538].includes(reply)
}
