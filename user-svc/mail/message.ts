/** Composes an email from its row: recipient, link with the token, headers, text and HTML. */

import MailComposer from 'nodemailer/lib/mail-composer'
import type { MailOptions } from '#common/config/mail-section.ts'
import { normalizeEmail } from '../email.ts'
import { type EmailPurpose, noticePurposes } from './email-purposes.ts'
import type { DueEmail } from './email-rows.ts'
import { emailToken } from './email-token.ts'
import { MailError } from './mail-error.ts'
import type { FillTemplates, TemplateValues } from './templates.ts'

/** An email with its headers, as it is sent. */
export interface Message {
  /** The id of its row. */
  id: string
  /** One address in the normalised form. */
  recipient: string
  content: Buffer
}

/**
 * Hands an email to its destination. Resolves when the destination is responsible for it.
 *
 * @throws {MailError} if it was not accepted, or if that is unknown
 */
export type Deliver = (message: Message, signal: AbortSignal) => Promise<void>

/** Composes emails; an email of the same row has the same Message-ID, so that a receiver can recognise a repetition. */
export function createComposer(options: Pick<MailOptions, 'from' | 'links' | 'keys'>, fillTemplates: FillTemplates) {
  const { from, links, keys } = options
  const domain = from.address.slice(from.address.lastIndexOf('@') + 1)

  function valuesOf(row: DueEmail): TemplateValues {
    if (noticePurposes.includes(row.purpose)) return { link: '', validFor: '' }
    const page = row.purpose === 'reset' ? links.reset : links.verify
    const validMs = row.expiresAt.getTime() - row.createdAt.getTime()
    return { link: page.replace('{token}', emailToken(row, keys)), validFor: describeMs(validMs) }
  }

  /** @throws {MailError} `unusable` if the row has no valid address */
  return async function compose(row: DueEmail): Promise<Message> {
    const { id, recipient } = row
    if (recipient === null || normalizeEmail(recipient) !== recipient) throw unusable()
    const message = new MailComposer({
      from,
      // As an object: the address is not parsed.
      to: { name: '', address: recipient },
      ...fillTemplates(row.purpose as EmailPurpose, valuesOf(row)),
      messageId: `<${id}@${domain}>`,
      // RFC 3834: no automatic reply.
      headers: { 'Auto-Submitted': 'auto-generated' },
      // Otherwise a long link may be folded.
      textEncoding: 'quoted-printable',
      disableFileAccess: true,
      disableUrlAccess: true
    }).compile()
    const { to } = message.getEnvelope()
    if (to.length !== 1 || to[0] !== recipient) throw unusable()
    return { id, recipient, content: await message.build() }
  }
}

const unusable = () => new MailError('unusable', { permanent: true })

function describeMs(ms: number): string {
  const [count, unit] = ms < 5_400_000 ? [ms / 60_000, 'minute'] : [ms / 3_600_000, 'hour']
  const rounded = Math.max(1, Math.round(count))
  if (unit === 'minute' && rounded === 60) return '1 hour'
  return `${rounded} ${unit}${rounded === 1 ? '' : 's'}`
}
