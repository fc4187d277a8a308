/** The keys for addresses. An address may contain a password, so no part of the value is ever printed. */

import { type Key, list, noSecrets, type SecretsOf } from './keys.ts'

/** The parts of a URL, still percent-encoded. */
export interface UrlParts {
  scheme: string
  user: string
  password: string
  /** `host:port` without user and password; several are separated by commas. */
  hosts: string
  /** With its slash. */
  path: string
  /** Without its question mark. */
  query: string
}

// Stricter than URL parsers: each of these characters, raw in a password, ends a part of the URL for some parser.
const encoded = '(?:%[0-9A-Fa-f]{2}|[^\\s\\0-\\x1f\\x7f%@/?#\\\\[\\]])'
const grammar = new RegExp(
  `^([a-z][a-z0-9+.-]*)://(?:((?:(?!:)${encoded})*)(?::(${encoded}*))?@)?([^\\s@/?#\\\\]*)(/(?:${encoded}|/)*)?(?:\\?((?:${encoded}|[/?\\[\\]])*))?$`,
  'i'
)

/** The rule for passwords in messages about a URL: raw special characters are the usual mistake. */
export const encodingRule =
  'with user and password percent-encoded: of special characters only - . _ ~ need no encoding (@ is %40, : %3A, / %2F, ? %3F, # %23, % %25)'

/** The parts of a URL whose special characters are encoded; undefined for any other text. */
export function urlParts(written: string): UrlParts | undefined {
  const match = grammar.exec(written)
  if (match === null) return undefined
  const [, scheme = '', user = '', password = '', hosts = '', path = '', query = ''] = match
  try {
    // In the protocol of PostgreSQL, NUL ends a parameter, and another one follows.
    if ([user, password, path, query].some((part) => decodeURIComponent(part).includes('\0'))) return undefined
  } catch {
    // The escapes are not UTF-8.
    return undefined
  }
  return { scheme: scheme.toLowerCase(), user, password, hosts, path, query }
}

/** The parameters of a URL, in their order. A plus sign is itself: drivers of engines do not read it as a space. */
export function urlParameters({ query }: Pick<UrlParts, 'query'>): [name: string, value: string][] {
  return (query === '' ? [] : query.split('&')).map((part) => {
    const [name = '', ...value] = part.split('=')
    return [name, decodeURIComponent(value.join('='))]
  })
}

/** The user and the password of a URL, before its host or as parameters; empty if it has none. */
export function urlLogin(url: string): { user: string; password: string } {
  const parts = urlParts(url)
  if (parts === undefined) return { user: '', password: '' }
  const parameters = new Map(urlParameters(parts))
  const part = (name: 'user' | 'password') => decodeURIComponent(parts[name]) || (parameters.get(name) ?? '')
  return { user: part('user'), password: part('password') }
}

/** The password of a URL. */
export const urlPassword: SecretsOf = {
  kind: 'password',
  in(url) {
    const { password } = urlLogin(url as string)
    return password === '' ? [] : [password]
  }
}

const hostPattern = '(?:[A-Za-z0-9_](?:[\\w.-]*[\\w.])?|\\[[0-9A-Fa-f:.]+(?:%25[\\w.-]+)?\\])'
const authority = new RegExp(`^${hostPattern}(?::(\\d{1,5}))?$`)

/** Whether a text is a host, with or without a port from 1 to 65535. */
export function isAuthority(text: string): boolean {
  const match = authority.exec(text)
  return match !== null && (match[1] === undefined || (Number(match[1]) >= 1 && Number(match[1]) <= 65_535))
}

/**
 * Whether the URL parser of the runtime, which clients use, can read a host: it rejects the zone of an IPv6 address,
 * and `1.2.3.4.5` as a wrong IPv4 address. Its error quotes the whole URL.
 */
function isParsed(scheme: string, hosts: string): boolean {
  return URL.canParse(`${scheme}://${hosts}`)
}

/**
 * A URL with one of the given schemes. Empty means that none is set.
 *
 * @param isUsable checks the parts; it may throw instead, with a message that contains nothing of the URL
 */
export function url(
  schemes: readonly string[],
  doc: string,
  isUsable: (parts: UrlParts, written: string) => boolean = ({ hosts }) => isAuthority(hosts)
): Key<string> {
  function isValid(written: unknown): boolean {
    if (written === '') return true
    const parts = typeof written === 'string' ? urlParts(written) : undefined
    return parts !== undefined && schemes.includes(parts.scheme) && isUsable(parts, written as string)
  }
  const starts = schemes.map((scheme) => `${scheme}://`).join(' or ')
  const accepts = `a URL that starts with ${starts}, ${encodingRule}`
  return { format: 'text', default: '', doc, sensitive: true, secrets: urlPassword, accepts, isValid }
}

/** Whether a URL of Redis has one host, and nothing else but the number of a database. */
export function isRedisUrl({ hosts, path, query }: UrlParts): boolean {
  return isAuthority(hosts) && isParsed('redis', hosts) && /^(\/\d{0,5})?$/.test(path) && query === ''
}

/** One or more origins, as a list or separated by commas. */
export function urlList(value: string, doc: string): Key<string[]> {
  function isOrigin(each: unknown, _index: number, urls: unknown[]): boolean {
    const parts = typeof each === 'string' ? urlParts(each) : undefined
    if (parts === undefined || (each as string).includes('@')) return false
    const { scheme, hosts, path, query } = parts
    if (!/^https?$/.test(scheme) || !isAuthority(hosts) || !isParsed(scheme, hosts)) return false
    return query === '' && (urls.length === 1 || /^\/?$/.test(path))
  }
  return {
    format: 'text-or-list',
    default: value,
    doc,
    sensitive: true,
    secrets: noSecrets,
    accepts:
      'one URL that starts with http:// or https://, or several without paths, separated by commas or as a list; without user and password',
    isValid: (urls) => Array.isArray(urls) && urls.length > 0 && urls.every(isOrigin)
  }
}

/** A list of `host:port`. */
export function addressList(doc: string, example: string): Key<string[]> {
  const accepts = `addresses such as ${example}, without scheme, user and password`
  return { ...list(doc, accepts, isAddress), sensitive: true, secrets: noSecrets }
}

function isAddress(text: string): boolean {
  return isAuthority(text) && /:\d+$/.test(text.replace(/^\[.*\]/, '')) && isParsed('redis', text)
}
