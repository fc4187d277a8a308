/** The composed email: its headers, its link, and addresses with special characters. */

import { randomUUID } from 'node:crypto'
import t from 'tap'
import { parseEmail } from '#common/mail/parse-email.ts'
import { normalizeEmail } from '../../email.ts'
import type { DueEmail } from '../../mail/email-rows.ts'
import { emailToken } from '../../mail/email-token.ts'
import { createComposer } from '../../mail/message.ts'
import { loadTemplates } from '../../mail/templates.ts'
import { composeOptions, keys } from './emails.ts'

const compose = createComposer(composeOptions, loadTemplates(''))
const createdAt = new Date('2026-01-01T00:00:00Z')

function row(more: Partial<DueEmail> = {}): DueEmail {
  return {
    id: '01999999-0000-7000-8000-000000000000',
    userId: randomUUID(),
    purpose: 'verify',
    recipient: 'ada@example.org',
    sessionEpoch: 0n,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + 86_400_000),
    usedAt: null,
    claimedUntil: null,
    attempts: 0,
    sentAt: null,
    deadAt: null,
    failure: null,
    ...more
  }
}

const headOf = (content: Buffer) => content.toString().split('\r\n\r\n')[0] ?? ''

t.test('the headers', async (t) => {
  const { content, recipient } = await compose(row())
  const head = headOf(content)
  t.equal(recipient, 'ada@example.org')
  t.match(head, /^To: ada@example\.org\r$/m)
  t.match(head, /^From: =\?UTF-8\?.*\?= <auth@example\.org>\r$/m)
  t.match(head, /^Message-ID: <01999999-0000-7000-8000-000000000000@example\.org>\r$/m)
  t.match(head, /^Auto-Submitted: auto-generated\r$/m)
  t.match(head, /^Date: /m)
  t.match(head, /^Content-Type: multipart\/alternative;/m)
  t.notMatch(head, /^(X-Mailer|Bcc|Cc|Reply-To):|nodemailer/im)
  t.equal(
    (await compose(row())).content.toString().match(/^Message-ID: .*$/m)?.[0],
    head.match(/^Message-ID: .*$/m)?.[0]
  )
})

t.test('the link of each purpose has the token in its fragment', async (t) => {
  const pages = {
    verify: 'https://app.example.org/#verify=',
    change: 'https://app.example.org/#verify=',
    reset: 'https://app.example.org/?a=1&b=2#reset='
  }
  for (const [purpose, page] of Object.entries(pages)) {
    const email = row({ purpose })
    const { content } = await compose(email)
    const { links, text } = parseEmail(content)
    t.same(links, [`${page}${emailToken(email, keys)}`])
    t.match(text, /24 hours/)
    t.match(content.toString().replaceAll('=\r\n', ''), new RegExp(`#${purpose === 'reset' ? 'reset' : 'verify'}=3D`))
  }
  const notice = parseEmail((await compose(row({ purpose: 'change-notice' }))).content)
  t.same(notice.links, [])
  t.match(notice, { subject: /about to change/, text: /to another address was requested/ })
  const taken = parseEmail((await compose(row({ purpose: 'registration-notice' }))).content)
  t.same(taken.links, [])
  t.match(taken, {
    subject: /has an account already/,
    text: /request a new password where you log in: that also confirms/
  })
})

t.test('an email says not to open a link that verifies the address of another registration', async (t) => {
  const verify = (await compose(row())).content
  t.match(parseEmail(verify).text, 'If you did not register an account, do not open the link')
  const notice = (await compose(row({ purpose: 'registration-notice' }))).content
  t.match(parseEmail(notice).text, 'Do not open the link of an earlier email that asks you to confirm the address')
  for (const content of [verify, notice]) {
    const html = content.toString().replaceAll('=\r\n', '').split('text/html')[1]
    t.match(html, /do not open the link/i, 'as HTML')
  }
})

t.test('states for how long a link is valid', async (t) => {
  for (const [ms, expected] of [
    [3_600_000, '1 hour'],
    [86_400_000, '24 hours'],
    [900_000, '15 minutes'],
    [1000, '1 minute']
  ] as const) {
    const { content } = await compose(row({ expiresAt: new Date(createdAt.getTime() + ms) }))
    t.match(parseEmail(content).text, `for ${expected}.`)
  }
})

t.test('each character that normalizeEmail accepts is in the address as it is', async (t) => {
  for (const written of [
    "!#$%&'*+/=?^_`{|}~-@Example.org",
    'a.b+c@example.org',
    'ada@bücher.example',
    '=?utf-8?q?=0d=0abcc=3a_c=40d.org?=@example.org',
    `${'a'.repeat(64)}@${'b'.repeat(60)}.${'c'.repeat(60)}.example.org`
  ]) {
    const recipient = normalizeEmail(written)
    if (recipient === undefined) throw new Error(`not accepted: ${written}`)
    const { content, recipient: envelope } = await compose(row({ recipient }))
    t.equal(envelope, recipient)
    t.equal(/^To:\s*<?([^\s>]+)>?\r$/m.exec(headOf(content))?.[1], recipient)
    t.notMatch(headOf(content), /^bcc:/im)
  }
})

t.test('rejects every other address', async (t) => {
  for (const recipient of [
    null,
    '',
    'ada',
    'a@b.org, c@d.org',
    'a@b.org\r\nBcc: c@d.org',
    'a@b.org\nX: y',
    '<a@b.org>',
    'Ada <a@b.org>',
    '"a b"@example.org',
    '"a@evil.org x"@example.org',
    'a@[127.0.0.1]',
    'group:a@b.org;',
    'ADA@example.org',
    'ada@bücher.example',
    'a@b.org '
  ]) {
    await t.rejects(
      compose(row({ recipient })),
      { name: 'MailError', kind: 'unusable', permanent: true },
      `${recipient}`
    )
  }
})
