/** The section of `config.yml` for emails, and its values as user-svc uses them. */

import { flag, type Key, secretList, text } from './keys.ts'
import { ConfigError, environmentName, type Values } from './load.ts'
import { encodingRule, isAuthority, urlParts, urlPassword } from './url-keys.ts'

const placeholder = '{token}'

/** Emails, which user-svc sends. */
export const mail = {
  url: mailUrl(
    'Server that accepts emails (`smtp://`: STARTTLS, port 587 by default; `smtps://`: TLS from the first byte, port 465 by default), or the directory in which each email becomes a file. Empty: no email is sent, and routes that need one answer 501. `make run` writes files.'
  ),
  from: text(
    '',
    'Sender of the emails. Required with `mail.url`.',
    'an address such as auth@example.org or Example <auth@example.org>, ASCII in the address',
    /^$|^(?:[^\p{C}"<>@,;:\\()[\]]{1,64} <[\w.+-]{1,64}@[A-Za-z0-9.-]{1,190}>|[\w.+-]{1,64}@[A-Za-z0-9.-]{1,190})$/u
  ),
  requireTls: flag(
    true,
    'Send an email only over TLS with a valid certificate. `false`: TLS without a check of the certificate if the server offers it, for a server in a trusted network.'
  ),
  links: {
    verify: link('The page of the application that confirms an address.'),
    reset: link('The page of the application that sets a new password.')
  },
  keys: secretList(
    'Keys for the tokens in emails and for the limits of emails, the newest first, each as `name:base64` of 32 bytes or more. Required with `mail.url`.'
  ),
  templates: text(
    '',
    'Directory of templates that replace the built-in ones. Empty: the built-in ones.',
    'the path of a directory',
    /^[^\0\r\n]*$/
  )
}

/** The server that accepts emails. */
export interface SmtpServer {
  host: string
  port: number
  /** TLS from the first byte; otherwise STARTTLS. */
  implicitTls: boolean
  requireTls: boolean
  credential?: { user: string; password: string }
}

/** The values of the section for a service that sends emails. */
export interface MailOptions {
  target: SmtpServer | { directory: string }
  from: { name: string; address: string }
  /** Each contains `{token}` once. */
  links: { verify: string; reset: string }
  /** `name:base64`, the newest first; at least one. */
  keys: string[]
  /** Empty: the built-in templates. */
  templates: string
}

/**
 * The values of the section, or nothing if `mail.url` is empty.
 *
 * @throws {ConfigError} for a missing key, and for values that production rejects
 */
export function mailOptions(section: Values<typeof mail>, environment = process.env): MailOptions | undefined {
  const { url, from, requireTls, links, keys, templates } = section
  if (url === '') return undefined
  requireSet('mail.from', from, 'the address of the sender')
  requireSet('mail.keys', keys, 'secrets as name:base64, at least 32 bytes each')
  requireSet('mail.links.verify', links.verify, 'the page that confirms an address')
  requireSet('mail.links.reset', links.reset, 'the page that sets a new password')
  const target = targetOf(url, requireTls)
  if (environment.NODE_ENV === 'production') requireProductionValues(target, links)
  return { target, from: senderOf(from), links, keys, templates }
}

/** The directory of `file:<directory>`, as it is written, or nothing for another URL. */
export function mailDirectory(url: string): string | undefined {
  return /^file:(?:\/\/(?=\/))?((?!\/\/)[^\0\r\n]+)$/i.exec(url)?.[1]
}

function mailUrl(doc: string): Key<string> {
  function isValid(written: unknown): boolean {
    if (typeof written !== 'string') return false
    if (written === '' || mailDirectory(written) !== undefined) return true
    const parts = urlParts(written)
    if (parts === undefined || !/^smtps?$/.test(parts.scheme)) return false
    const { hosts, path, query, user, password } = parts
    const isServer = isAuthority(hosts) && URL.canParse(`http://${hosts}`) && /^\/?$/.test(path) && query === ''
    return isServer && (user === '') === (password === '')
  }
  const accepts = `file:<directory>, or a URL that starts with smtp:// or smtps:// and names one host without a path, ${encodingRule}`
  return { format: 'text', default: '', doc, sensitive: true, secrets: urlPassword, accepts, isValid }
}

/** A page whose fragment has the token: browsers send no fragment to a server, and so no log of a server has it. */
function link(doc: string): Key<string> {
  const page = /^https?:\/\/[^\s\p{C}"'<>\\^`{|}@#]+#[^\s\p{C}"'<>\\^`{|}#]*\{token\}[^\s\p{C}"'<>\\^`{|}#]*$/u
  const accepts = `a URL that starts with http:// or https:// and contains ${placeholder} once, behind a #, such as https://app.example.org/reset#token=${placeholder}`
  const key = text('', `${doc} Required with \`mail.url\`.`, accepts)
  const isPage = (url: string) => page.test(url) && URL.canParse(url.replace(placeholder, ''))
  return { ...key, isValid: (url) => typeof url === 'string' && (url === '' || isPage(url)) }
}

function requireSet(path: string, value: string | string[], accepts: string): void {
  if (value.length > 0) return
  throw new ConfigError(`${path}: is missing beside mail.url; takes ${accepts} (${environmentName(path)})`)
}

function targetOf(url: string, requireTls: boolean): MailOptions['target'] {
  const directory = mailDirectory(url)
  if (directory !== undefined) return { directory }
  const { scheme, hosts, user, password } = urlParts(url) as NonNullable<ReturnType<typeof urlParts>>
  const [, written = '', port] = /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(hosts) ?? []
  const host = written.replace(/^\[(.*)\]$/, '$1')
  const implicitTls = scheme === 'smtps'
  if (user !== '' && !requireTls && !isLoopback(host)) {
    throw new ConfigError(
      'mail.requireTls: got false beside a password in mail.url, takes true: TLS without a check of the certificate does not protect a password'
    )
  }
  return {
    host,
    port: Number(port ?? (implicitTls ? 465 : 587)),
    implicitTls,
    requireTls,
    ...(user !== '' && { credential: { user: decodeURIComponent(user), password: decodeURIComponent(password) } })
  }
}

function requireProductionValues(target: MailOptions['target'], links: MailOptions['links']): void {
  if ('directory' in target) {
    throw new ConfigError('mail.url: got a directory, production takes smtp:// or smtps://: the files contain tokens')
  }
  for (const [name, page] of Object.entries(links)) {
    if (page.startsWith('https://') || isLoopback(new URL(page.replace(placeholder, '')).hostname)) continue
    throw new ConfigError(`mail.links.${name}: got ${JSON.stringify(page)}, production takes a URL with https://`)
  }
}

const isLoopback = (host: string) => /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/i.test(host)

function senderOf(from: string): MailOptions['from'] {
  const [, name = '', address = from] = /^(.*) <(.*)>$/.exec(from) ?? []
  return { name, address }
}
