/** Parses an email as nodemailer composes it (RFC 5322, 2045, 2047), for its headers, its plain text and its links. */

/** The parts of an email that a reader needs. */
export interface ParsedEmail {
  from: string
  to: string
  subject: string
  /** The plain text; empty if there is none. */
  text: string
  /** The URLs in the text, in order. */
  links: string[]
}

export function parseEmail(source: Buffer): ParsedEmail {
  // One character per byte, so that each part is decoded from its own bytes.
  const { headers } = split(source.toString('latin1'))
  const header = (name: string) => decodeWords(Buffer.from(headers.get(name) ?? '', 'latin1').toString())
  const text = plainText(source.toString('latin1')) ?? ''
  return {
    from: header('from'),
    to: header('to'),
    subject: header('subject'),
    text,
    links: text.match(/https?:\/\/[^\s<>"]+/g) ?? []
  }
}

/** The headers, by their names in lower case, and the body. */
function split(entity: string): { headers: Map<string, string>; body: string } {
  const [head = ''] = entity.split(/\r?\n\r?\n/, 1)
  const unfolded = head.replaceAll(/\r?\n(?=[ \t])/g, '')
  const headers = new Map<string, string>()
  for (const line of unfolded.split(/\r?\n/)) {
    const [, name, value] = /^([!-9;-~]+):[ \t]*(.*)$/.exec(line) ?? []
    if (name !== undefined && value !== undefined) headers.set(name.toLowerCase(), value)
  }
  return { headers, body: entity.slice(head.length).replace(/^\r?\n\r?\n/, '') }
}

/** The first part of the type `text/plain`. */
function plainText(entity: string): string | undefined {
  const { headers, body } = split(entity)
  const type = headers.get('content-type') ?? 'text/plain'
  const [, boundary] = /^multipart\/.*;\s*boundary="?([^";]+)"?/i.exec(type) ?? []
  if (boundary !== undefined) {
    const parts = `\n${body}`.split(`\n--${boundary}`).slice(1, -1)
    return parts.map((part) => plainText(part.replace(/^[ \t]*\r?\n/, ''))).find((text) => text !== undefined)
  }
  if (!/^text\/plain\b/i.test(type)) return undefined
  const bytes = decodeBody(body, headers.get('content-transfer-encoding') ?? '7bit')
  return bytes.toString().replaceAll('\r\n', '\n').trimEnd()
}

function decodeBody(body: string, encoding: string): Buffer {
  if (/^base64$/i.test(encoding)) return Buffer.from(body, 'base64')
  if (/^quoted-printable$/i.test(encoding)) return decodeQuoted(body.replaceAll(/=[ \t]*\r?\n/g, ''))
  return Buffer.from(body, 'latin1')
}

function decodeQuoted(text: string): Buffer {
  const decoded = text.replaceAll(/=([0-9A-F]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(decoded, 'latin1')
}

/** Decodes the words of a header that are not ASCII. The words of one character sequence are joined before. */
function decodeWords(value: string): string {
  return value.replaceAll(/=\?[\w-]+\?[bq]\?[^? ]*\?=(?:\s+=\?[\w-]+\?[bq]\?[^? ]*\?=)*/gi, (words) => {
    const bytes = words.split(/\s+/).map((word) => {
      const [, , encoding = '', content = ''] = word.split('?')
      if (encoding.toLowerCase() === 'b') return Buffer.from(content, 'base64')
      return decodeQuoted(content.replaceAll('_', ' '))
    })
    return Buffer.concat(bytes).toString()
  })
}
