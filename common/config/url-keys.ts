/** The keys that take addresses. They may hold a password, so of their values nothing is ever printed. */

import type { Key } from './keys.ts'
import { list } from './keys.ts'

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

// Not what URL parsers agree on: each of these characters, raw in a password, ends a part of the URL for some parser.
const encoded = '(?:%[0-9A-Fa-f]{2}|[^\\s\\0-\\x1f\\x7f%@/?#\\\\[\\]])'
const grammar = new RegExp(
  `^([a-z][a-z0-9+.-]*)://(?:((?:(?!:)${encoded})*)(?::(${encoded}*))?@)?([^\\s@/?#\\\\]*)(/(?:${encoded}|/)*)?(?:\\?((?:${encoded}|[/?\\[\\]])*))?$`,
  'i'
)

/** What the message about a URL adds: the usual cause of one that cannot be read is a password with raw characters. */
export const encodingRule =
  'with user and password percent-encoded: of special characters only - . _ ~ stand for themselves (@ is %40, : %3A, / %2F, ? %3F, # %23, % %25)'

/** The parts of a URL whose special characters are encoded as they have to be; nothing for any other text. */
export function urlParts(written: string): UrlParts | undefined {
  const match = grammar.exec(written)
  if (match === null) return undefined
  const [, scheme = '', user = '', password = '', hosts = '', path = '', query = ''] = match
  try {
    // In the protocol of PostgreSQL, NUL ends a parameter, and another one follows.
    if ([user, password, path, query].some((part) => decodeURIComponent(part).includes('\0'))) return undefined
  } catch {
    // Escapes that are no UTF-8.
    return undefined
  }
  return { scheme: scheme.toLowerCase(), user, password, hosts, path, query }
}

const hostPattern = '(?:[A-Za-z0-9_](?:[\\w.-]*[\\w.])?|\\[[0-9A-Fa-f:.]+(?:%25[\\w.-]+)?\\])'
const authority = new RegExp(`^${hostPattern}(?::(\\d{1,5}))?$`)

/** Whether a text is a host, with or without a port from 1 to 65535. */
export function isAuthority(text: string): boolean {
  const match = authority.exec(text)
  return match !== null && (match[1] === undefined || isPort(match[1]))
}

/**
 * Whether the URL parser of the runtime, which clients use, reads a host: it knows no zone of an IPv6 address, and takes
 * `1.2.3.4.5` for a wrong IPv4 address. Its error quotes the whole URL.
 */
function isParsed(scheme: string, hosts: string): boolean {
  return URL.canParse(`${scheme}://${hosts}`)
}

function isPort(text: string): boolean {
  return Number(text) >= 1 && Number(text) <= 65_535
}

function refuseUnless(condition: boolean): asserts condition {
  if (!condition) throw new Error('not acceptable')
}

/**
 * A URL with one of the given schemes. Empty means that none is set.
 *
 * @param check throws if the URL is readable and still none that the key takes; a ConfigError has its own message
 */
export function url(
  schemes: readonly string[],
  value: string,
  doc: string,
  check: (parts: UrlParts, written: string) => void = ({ hosts }) => refuseUnless(isAuthority(hosts))
): Key<string> {
  return {
    default: value,
    doc,
    sensitive: true,
    accepts: `a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}, ${encodingRule}`,
    fromText: (text) => text,
    parse(written) {
      refuseUnless(typeof written === 'string')
      if (written === '') return written
      const parts = urlParts(written)
      refuseUnless(parts !== undefined && schemes.includes(parts.scheme))
      check(parts, written)
      return written
    }
  }
}

/** Checks a URL of Redis: one host, and a database's number at most. */
export function checkRedisUrl({ hosts, path, query }: UrlParts): void {
  refuseUnless(isAuthority(hosts) && isParsed('redis', hosts) && /^(\/\d{0,5})?$/.test(path) && query === '')
}

/** One or more origins, as a list or separated by commas. */
export function urlList(value: string, doc: string): Key<string[]> {
  return {
    default: value,
    doc,
    sensitive: true,
    accepts:
      'one URL that starts with http:// or https://, or several without paths, separated by commas or as a list; without user and password',
    fromText: (text) => text,
    parse(written) {
      const urls = Array.isArray(written) ? written : String(written).split(',')
      refuseUnless(urls.length > 0 && urls.every((each) => typeof each === 'string'))
      return urls.map((each: string) => {
        const parts = urlParts(each.trim())
        refuseUnless(parts !== undefined && /^https?$/.test(parts.scheme) && isAuthority(parts.hosts))
        refuseUnless(isParsed(parts.scheme, parts.hosts))
        refuseUnless(!each.includes('@') && parts.query === '' && (urls.length === 1 || /^\/?$/.test(parts.path)))
        return each.trim()
      })
    }
  }
}

/** A list of `host:port`. */
export function addressList(doc: string, example: string): Key<string[]> {
  const accepts = `addresses such as ${example}, without scheme, user and password`
  return { ...list([], doc, accepts, isAddress), sensitive: true }
}

function isAddress(text: string): boolean {
  return isAuthority(text) && /:\d+$/.test(text.replace(/^\[.*\]/, '')) && isParsed('redis', text)
}
