/** The kinds of value that a configuration key can take; each says what it accepts and refuses the rest. */

import { isIP } from 'node:net'

/** One configuration key: `parse` turns a value as written into the value the code uses. */
export interface Key<T> {
  default: unknown
  /** The default with `NODE_ENV=production`, where it differs. */
  productionDefault?: unknown
  doc: string
  sensitive: boolean
  /** What the key takes, as the error message and the reference say it. */
  accepts: string
  /** Throws when the value is not acceptable. */
  parse(written: unknown): T
  /** The environment holds text only: this makes of it what a YAML file would hold. */
  fromText(text: string): unknown
}

interface Bounds {
  min?: number
  max?: number
}

function key<T>(kind: Pick<Key<T>, 'accepts' | 'parse'> & Partial<Key<T>>, value: unknown, doc: string): Key<T> {
  return { default: value, doc, sensitive: false, fromText: (text) => text, ...kind }
}

function refuseUnless(condition: boolean): asserts condition {
  if (!condition) throw new Error('not acceptable')
}

/** A whole number. */
export function integer(value: number, doc: string, { min = 0, max = 2 ** 31 - 1 }: Bounds = {}): Key<number> {
  return key(
    {
      accepts: `a whole number from ${min} to ${max}`,
      fromText: (text) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text),
      parse(written) {
        refuseUnless(Number.isInteger(written) && (written as number) >= min && (written as number) <= max)
        return written as number
      }
    },
    value,
    doc
  )
}

/** A TCP port; 0 lets the system choose. */
export function port(value: number, doc: string): Key<number> {
  return { ...integer(value, doc, { max: 65535 }), accepts: 'a port from 0 to 65535 (0: any free one)' }
}

/** `true` or `false`, and nothing that only looks like it. */
export function flag(value: boolean, doc: string, { production = value } = {}): Key<boolean> {
  return key(
    {
      ...(production !== value && { productionDefault: production }),
      accepts: 'true or false',
      fromText: (text) => (text === 'true' ? true : text === 'false' ? false : text),
      parse(written) {
        refuseUnless(typeof written === 'boolean')
        return written
      }
    },
    value,
    doc
  )
}

const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

function durationMs(written: unknown): number {
  const match = /^(\d{1,9})(ms|s|m|h|d)?$/.exec(typeof written === 'number' ? String(written) : String(written).trim())
  refuseUnless(match !== null)
  return Number(match[1]) * unitMs[(match[2] ?? 's') as keyof typeof unitMs]
}

/** A length of time, in milliseconds for the code; written `250ms`, `30s`, `15m`, `12h`, `7d`, or as seconds. */
export function duration(value: string, doc: string, { min = '0s', max = '400d' } = {}): Key<number> {
  return key(
    {
      accepts: `a time from ${min} to ${max}, such as 250ms, 30s, 15m, 12h, 7d (a number alone: seconds)`,
      parse(written) {
        const ms = durationMs(written)
        refuseUnless(ms >= durationMs(min) && ms <= durationMs(max))
        return ms
      }
    },
    value,
    doc
  )
}

/** One of a few words. */
export function choice<const T extends string>(options: readonly T[], value: T, doc: string): Key<T> {
  return key(
    {
      accepts: `one of ${options.join(', ')}`,
      parse(written) {
        refuseUnless(options.includes(written as T))
        return written as T
      }
    },
    value,
    doc
  )
}

/** Any text; `pattern` narrows it. */
export function text(value: string, doc: string, accepts = 'a text', pattern = /^[^\0\r\n]*$/): Key<string> {
  return key(
    {
      accepts,
      parse(written) {
        refuseUnless(typeof written === 'string' && pattern.test(written))
        return written
      }
    },
    value,
    doc
  )
}

/** A directory, which is created if it does not exist. */
export function directory(value: string, doc: string): Key<string> {
  return text(value, doc, 'the path of a directory', /^[^\0\r\n]+$/)
}

// getaddrinfo reads a name that ends in a number as an IPv4 address: `0` is 0.0.0.0, and `8080` is 0.0.31.144.
const hostName = /^(?=.*[A-Za-z][\w-]*\.?$)[A-Za-z0-9_](?:[\w.-]*[\w.])?$/

/** Where to listen. Never empty: Node.js listens on every address of the machine then. */
export function host(value: string, doc: string): Key<string> {
  return key(
    {
      accepts: 'an IP address or a host name, without port and brackets (0.0.0.0 or :: for every address)',
      parse(written) {
        refuseUnless(typeof written === 'string' && (isIP(written) !== 0 || hostName.test(written)))
        return written
      }
    },
    value,
    doc
  )
}

/** A secret: never printed. Empty means that none is set. */
export function secret(doc: string): Key<string> {
  return {
    ...text('', doc, 'a text of visible ASCII characters without spaces', /^[\x21-\x7e]*$/),
    sensitive: true
  }
}

/** A list of texts; in the environment, separated by commas. */
export function list(
  value: readonly string[],
  doc: string,
  accepts: string,
  item: (text: string) => boolean
): Key<string[]> {
  return key(
    {
      accepts: `a list of ${accepts}`,
      fromText: (text) => (text.trim() === '' ? [] : text.split(',').map((part) => part.trim())),
      parse(written) {
        refuseUnless(Array.isArray(written) && written.every((entry) => typeof entry === 'string' && item(entry)))
        return written as string[]
      }
    },
    value,
    doc
  )
}

/** Named secrets, `name:base64`, the newest first; never printed. In the environment, separated by commas. */
export function secretList(doc: string): Key<string[]> {
  const accepts = 'secrets as name:base64, each name once and of 1 to 16 of a-z 0-9, at least 32 bytes each'
  const entries = list([], doc, accepts, (entry) => {
    const match = /^[a-z0-9]{1,16}:([A-Za-z0-9+/]+={0,2})$/.exec(entry)
    return match !== null && Buffer.from(match[1] as string, 'base64').length >= 32
  })
  return {
    ...entries,
    sensitive: true,
    parse(written) {
      const secrets = entries.parse(written)
      // Of two secrets with one name, the reader of the list would use one only.
      refuseUnless(new Set(secrets.map((each) => each.split(':')[0])).size === secrets.length)
      return secrets
    }
  }
}
