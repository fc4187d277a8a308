/** The reader of emails in a directory, with emails that nodemailer composes. */

import { mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'
import t from 'tap'
import { newestEmails } from '#common/mail/mail-files.ts'

const link = `http://localhost:8080/playground#verify=${'Aa0-_'.repeat(12)}AAAA`
const subject = 'Bestätigen Sie die neue Adresse, 新しいアドレスを確認してください, un texte assez long'
const text = `Grüße.\n\n${link}\n\n.a line that begins with a dot\na = b\n${'long '.repeat(40)}`

async function compose(email: object = {}): Promise<Buffer> {
  const transport = createTransport({ streamTransport: true, buffer: true })
  const { message } = await transport.sendMail({
    from: { name: 'Ünï "Ç"', address: 'auth@example.org' },
    to: 'ada@example.org',
    subject,
    text,
    html: `<p>Grüße. <a href="${link}">Link</a></p>`,
    ...email
  })
  return message as Buffer
}

const orderedFiles = async (directory: string) => (await newestEmails(directory, 2)).map(({ file }) => file)

t.test('reads headers, text and links of every encoding', async (t) => {
  const variants = {
    'quoted-printable': await compose({ textEncoding: 'quoted-printable' }),
    base64: await compose({ textEncoding: 'base64' }),
    'text only': await compose({ html: undefined }),
    'no headers but ASCII': await compose({ subject: 'Plain', from: 'auth@example.org' })
  }
  for (const [name, content] of Object.entries(variants)) {
    for (const newline of ['\n', '\r\n']) {
      const directory = t.testdir({ 'a.eml': content.toString('latin1').replaceAll(/\r?\n/g, newline) })
      const [email] = await newestEmails(directory, 5)
      t.equal(email?.subject, name === 'no headers but ASCII' ? 'Plain' : subject, `${name}: subject`)
      t.match(email?.from, name === 'no headers but ASCII' ? 'auth@example.org' : /Ünï.*Ç.* <auth@example.org>/, name)
      t.equal(email?.to, 'ada@example.org')
      t.equal(email?.text, text.trimEnd(), `${name}: text`)
      t.same(email?.links, [link], `${name}: links`)
    }
  }
})

t.test('an email with HTML alone has no text and no links', async (t) => {
  const content = await compose({ text: undefined })
  const [email] = await newestEmails(t.testdir({ 'a.eml': content.toString('latin1') }), 1)
  t.match(email, { subject, text: '', links: [] })
})

t.test('returns the newest emails, the newest first, and no other file', async (t) => {
  const directory = t.testdir({ 'x.eml.tmp': 'unfinished', 'notes.txt': 'Subject: none\n\n' })
  mkdirSync(join(directory, 'folder.eml'))
  for (const [index, name] of ['c.eml', 'a.eml', 'b.eml'].entries()) {
    writeFileSync(join(directory, name), `Subject: ${name}\r\n\r\nText.\r\n`)
    utimesSync(join(directory, name), 1_700_000_000 + index, 1_700_000_000 + index)
  }
  t.same(await orderedFiles(directory), ['b.eml', 'a.eml'])
  const [newest] = await newestEmails(directory, 1)
  t.match(newest, { subject: 'b.eml', text: 'Text.', writtenAt: new Date(1_700_000_002_000) })
})

t.test('a missing directory has no emails; an unreadable one is an error', async (t) => {
  const directory = t.testdir({ file: 'text' })
  t.same(await newestEmails(join(directory, 'missing'), 5), [])
  await t.rejects(newestEmails(join(directory, 'file'), 5), { code: 'ENOTDIR' })
})

t.test('a malformed email is shown as far as it can be read', async (t) => {
  const broken = {
    'empty.eml': '',
    'header.eml': 'no header at all',
    'boundary.eml': 'Content-Type: multipart/mixed; boundary="x"\n\n--y\n\ntext\n'
  }
  const emails = await newestEmails(t.testdir(broken), 5)
  t.equal(emails.length, 3)
  for (const email of emails) t.match(email, { subject: '', text: '', links: [] })
})
