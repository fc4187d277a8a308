/** The templates: the built-in ones, those of a directory, and the message for each mistake. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { emailPurposes, noticePurposes } from '../../mail/email-purposes.ts'
import { loadTemplates } from '../../mail/templates.ts'

const values = { link: 'https://a.org/?a=1&b="<\'>#token', validFor: '1 hour' }
const text = 'Subject: Hello\n\nOpen {{link}} within {{validFor}}.\n'
const html = '<p><a href="{{link}}">Open</a> {{link}}</p>\n'

function directoryWith(files: Record<string, string | Buffer>): string {
  const directory = mkdtempSync(join(tmpdir(), 'templates-'))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
  return directory
}

t.test('each built-in template has a subject, a text and HTML, and states no origin', async (t) => {
  const fill = loadTemplates('')
  for (const purpose of emailPurposes) {
    const content = fill(purpose, values)
    t.match(content.subject, /^[A-Z][a-z ]{10,60}$/, purpose)
    t.match(content.html, /^<!doctype html>/)
    for (const each of [content.text, content.html]) {
      t.notMatch(each, /\{\{|IP address|browser on|someone/i)
      t.equal(each.includes('https://a.org/'), !noticePurposes.includes(purpose), purpose)
      t.equal(each.includes('1 hour'), !noticePurposes.includes(purpose), purpose)
    }
  }
})

t.test('fills the text as it is, and the HTML escaped', async (t) => {
  const fill = loadTemplates(directoryWith({ 'reset.txt': text, 'reset.html': html, 'README.md': 'x' }))
  const { subject, text: filled, html: page } = fill('reset', { link: values.link, validFor: '{{link}} $& $1' })
  t.equal(subject, 'Hello')
  t.equal(filled, `Open ${values.link} within {{link}} $& $1.\n`, 'a value is not a template')
  const escaped = 'https://a.org/?a=1&amp;b=&quot;&lt;&#39;&gt;#token'
  t.equal(page, `<p><a href="${escaped}">Open</a> ${escaped}</p>\n`)
  t.match(fill('verify', values).subject, /Confirm/, 'the others are built in')
})

t.test('accepts line ends of Windows and letters of any language', async (t) => {
  const files = { 'verify.txt': text.replace('Hello', 'Grüße, Ἀδα').replaceAll('\n', '\r\n'), 'verify.html': html }
  t.equal(loadTemplates(directoryWith(files))('verify', values).subject, 'Grüße, Ἀδα')
})

const mistakes: [what: string, files: Record<string, string | Buffer>, message: RegExp][] = [
  ['no template', { 'README.md': 'x' }, /has no template, takes verify\.txt, verify\.html/],
  ['a misspelt name', { 'verfy.txt': text }, /verfy\.txt is no template, takes verify\.txt/],
  ['one of two files', { 'verify.txt': text }, /verify\.txt has no verify\.html beside it/],
  ['the other of two files', { 'verify.html': html }, /verify\.html has no verify\.txt beside it/],
  [
    'a missing placeholder',
    { 'reset.txt': text.replace('{{link}}', ''), 'reset.html': html },
    /reset\.txt lacks {{link}}/
  ],
  ['a missing placeholder of HTML', { 'reset.txt': text, 'reset.html': '<p>' }, /reset\.html lacks {{link}}/],
  [
    'an unknown placeholder',
    { 'reset.txt': `${text}{{name}}`, 'reset.html': html },
    /reset\.txt has {{name}}, takes {{link}}, {{validFor}}/
  ],
  [
    'a placeholder with blanks',
    { 'reset.txt': text, 'reset.html': `${html}{{ link }}` },
    /reset\.html has {{ link }}, takes/
  ],
  [
    'a link in a notice',
    { 'change-notice.txt': text, 'change-notice.html': '<p>' },
    /change-notice\.txt has {{link}}, takes no placeholder/
  ],
  ['no subject', { 'reset.txt': 'Open {{link}}', 'reset.html': html }, /reset\.txt takes "Subject: "/],
  [
    'no empty line',
    { 'reset.txt': 'Subject: x\nOpen {{link}}', 'reset.html': html },
    /reset\.txt takes "Subject: ".* empty second line/
  ],
  [
    'a placeholder in the subject',
    { 'reset.txt': 'Subject: {{link}}\n\n{{link}}', 'reset.html': html },
    /without placeholders/
  ],
  [
    'a long subject',
    { 'reset.txt': `Subject: ${'x'.repeat(151)}\n\n{{link}}`, 'reset.html': html },
    /1 to 150 characters/
  ],
  ['a control character', { 'reset.txt': 'Subject: x\ty\n\n{{link}}', 'reset.html': html }, /"Subject: "/],
  ['no UTF-8', { 'reset.txt': Buffer.from(`${text}\xff`, 'latin1'), 'reset.html': html }, /reset\.txt is not UTF-8/],
  ['a large file', { 'reset.txt': text, 'reset.html': html.padEnd(102_401) }, /reset\.html is larger than 102400 bytes/]
]

t.test('a mistake stops the start, and its message names the file', async (t) => {
  for (const [what, files, message] of mistakes) {
    t.throws(() => loadTemplates(directoryWith(files)), { name: 'ConfigError', message }, what)
  }
  const missing = { name: 'ConfigError', message: 'mail.templates: /nowhere cannot be read (ENOENT)' }
  t.throws(() => loadTemplates('/nowhere'), missing)
})
