/** The kinds of configuration keys: entries of a convict schema, each with the values that it accepts. */

import { isIP } from 'node:net'

/** The secrets in a value of a sensitive key; production refuses each that is weak or that another key has. */
export interface SecretsOf {
  /** Undefined: no value contains a secret. */
  kind?: 'token' | 'password' | 'key'
  in(value: unknown): string[]
}

/** For keys whose values are not printed and contain no secret. */
export const noSecrets: SecretsOf = { in: () => [] }

/** One configuration key whose value has the type `T`. */
export interface Key<T> {
  format: keyof typeof coercions
  default: unknown
  /** The default with `NODE_ENV=production`, where it differs. */
  productionDefault?: unknown
  doc: string
  /** Its value is never printed. */
  sensitive?: boolean
  /** Every sensitive key has it. */
  secrets?: SecretsOf
  /** The accepted values, for error messages and the reference. */
  accepts: string
  /** Checks a coerced value. It may throw instead, with a message that contains nothing of the value. */
  isValid(value: unknown): boolean
  /** The first item of a list that is not accepted, for the message; never called if the key is sensitive. */
  wrongItem?(value: unknown): string | undefined
  /** For the type checker only. */
  type?: T
}

/** The formats of convict, and how each converts text. Text that it cannot convert stays text, which is then invalid. */
export const coercions = {
  text: (text: string) => text,
  'whole-number': (text: string) => (/^-?\d{1,15}$/.test(text) ? Number(text) : text),
  'true-or-false': (text: string) => (text === 'true' ? true : text === 'false' ? false : text),
  duration: (text: string) => durationMs(text) ?? text,
  list: splitList,
  'text-or-list': splitList
}

/** The formats that a configuration file may write as text. */
export const textFormats: readonly string[] = ['text', 'duration', 'text-or-list']

function splitList(text: string): string[] {
  return text.trim() === '' ? [] : text.split(',').map((item) => item.trim())
}

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The milliseconds of a duration; undefined if the text is not one. */
export function durationMs(text: string): number | undefined {
  const [, count, unit = 's'] = /^\s*(\d{1,9})(ms|s|m|h|d)?\s*$/.exec(text) ?? []
  return count === undefined ? undefined : Number(count) * (unitMs[unit] as number)
}

const isBetween = (value: unknown, min: number, max: number) =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max

/** A whole number. */
export function integer(value: number, doc: string, { min = 0, max = 2 ** 31 - 1 } = {}): Key<number> {
  const accepts = `a whole number from ${min} to ${max}`
  return { format: 'whole-number', default: value, doc, accepts, isValid: (number) => isBetween(number, min, max) }
}

/** A TCP port; 0 lets the system choose. */
export function port(value: number, doc: string): Key<number> {
  return { ...integer(value, doc, { max: 65_535 }), accepts: 'a port from 0 to 65535 (0: any free one)' }
}

/** `true` or `false`. */
export function flag(value: boolean, doc: string, { production = value } = {}): Key<boolean> {
  return {
    format: 'true-or-false',
    default: value,
    ...(production !== value && { productionDefault: production }),
    doc,
    accepts: 'true or false',
    isValid: (flag) => typeof flag === 'boolean'
  }
}

/** A duration, in milliseconds for the code; written `250ms`, `30s`, `15m`, `12h`, `7d`, or as a number of seconds. */
export function duration(value: string, doc: string, { min = '0s', max = '400d' } = {}): Key<number> {
  const [minMs = 0, maxMs = 0] = [min, max].map(durationMs)
  const accepts = `a time from ${min} to ${max}, such as 250ms, 30s, 15m, 12h, 7d (a number alone: seconds)`
  return { format: 'duration', default: value, doc, accepts, isValid: (ms) => isBetween(ms, minMs, maxMs) }
}

/** One of a few words. */
export function choice<const T extends string>(options: readonly T[], value: T, doc: string): Key<T> {
  const accepts = `one of ${options.join(', ')}`
  return { format: 'text', default: value, doc, accepts, isValid: (word) => options.includes(word as T) }
}

/** Any text; `pattern` restricts it. */
export function text(value: string, doc: string, accepts = 'a text', pattern = /^[^\0\r\n]*$/): Key<string> {
  const isValid = (text: unknown) => typeof text === 'string' && pattern.test(text)
  return { format: 'text', default: value, doc, accepts, isValid }
}

/** A directory, which is created if it does not exist. */
export function directory(value: string, doc: string): Key<string> {
  return text(value, doc, 'the path of a directory', /^[^\0\r\n]+$/)
}

// getaddrinfo reads a name that ends in a number as an IPv4 address: `0` is 0.0.0.0, and `8080` is 0.0.31.144.
const hostName = /^(?=.*[A-Za-z][\w-]*\.?$)[A-Za-z0-9_](?:[\w.-]*[\w.])?$/

/** The address of a listener. Never empty: Node.js would listen on every address of the machine. */
export function host(value: string, doc: string): Key<string> {
  const accepts = 'an IP address or a host name, without port and brackets (0.0.0.0 or :: for every address)'
  const isValid = (host: unknown) => typeof host === 'string' && (isIP(host) !== 0 || hostName.test(host))
  return { format: 'text', default: value, doc, accepts, isValid }
}

/** A token: never printed. Empty means that none is set. */
export function secret(doc: string): Key<string> {
  const key = text('', doc, 'a text of visible ASCII characters without spaces', /^[\x21-\x7e]*$/)
  return { ...key, sensitive: true, secrets: { kind: 'token', in: (value) => nonEmpty([value as string]) } }
}

/** A password of an engine: never printed. Empty means that none is set. */
export function password(doc: string): Key<string> {
  const key = secret(doc)
  return { ...key, secrets: { ...(key.secrets as SecretsOf), kind: 'password' } }
}

const nonEmpty = (values: (string | undefined)[]) =>
  values.filter((value) => value !== undefined && value !== '') as string[]
const secondPart = (entry: string) => entry.split(':')[1]

/** A list of texts; in the environment, separated by commas. */
export function list(doc: string, accepts: string, isItem: (text: string) => boolean): Key<string[]> {
  const isAccepted = (item: unknown) => typeof item === 'string' && isItem(item)
  const isValid = (items: unknown) => Array.isArray(items) && items.every(isAccepted)
  const wrongItem = (items: unknown) => {
    return Array.isArray(items) ? JSON.stringify(items.find((item) => !isAccepted(item))) : undefined
  }
  return { format: 'list', default: [], doc, accepts: `a list of ${accepts}`, isValid, wrongItem }
}

// An entry of a caller may have the name in a certificate instead.
const isToken = (text: string) => !text.startsWith('cert-')

/** The credentials of callers, with the permissions of each; never printed. In the environment, separated by commas. */
export function callerList(doc: string): Key<string[]> {
  const key = list(doc, 'callers as name:token or name:token:permissions', (item) =>
    /^$|^[^:]+:[^:]+(:[^:]+)?$/.test(item)
  )
  const tokens = (entries: unknown) => nonEmpty((entries as string[]).map(secondPart)).filter(isToken)
  return { ...key, sensitive: true, secrets: { kind: 'token', in: tokens } }
}

/** Named secrets, `name:base64`, the newest first; never printed. In the environment, separated by commas. */
export function secretList(doc: string): Key<string[]> {
  const accepts = 'secrets as name:base64, each name once and of 1 to 16 of a-z 0-9, at least 32 bytes each'
  const key = list(doc, accepts, (item) => {
    const [, base64 = ''] = /^[a-z0-9]{1,16}:([A-Za-z0-9+/]+={0,2})$/.exec(item) ?? []
    return Buffer.from(base64, 'base64').length >= 32
  })
  // With two secrets of one name, one of them would never be used.
  const namesOf = (items: string[]) => new Set(items.map((item) => item.split(':')[0]))
  const isValid = (items: unknown) =>
    key.isValid(items) && namesOf(items as string[]).size === (items as string[]).length
  const keys = (entries: unknown) => nonEmpty((entries as string[]).map(secondPart))
  return { ...key, sensitive: true, secrets: { kind: 'key', in: keys }, isValid }
}
