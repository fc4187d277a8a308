/** Reads `config.yml` and the environment into one typed, checked object; a bad value stops the start with one line. */

import { readFileSync } from 'node:fs'
import convict from 'convict'
import { parse as parseYaml, YAMLError } from 'yaml'
import { keyPaths } from './catalogue.ts'
import { isServiceLink } from './foreign-variables.ts'
import type { Key } from './keys.ts'
import { namesBySection, nearest, unknownVariable } from './misspelt-variables.ts'
import { dangerousVariable } from './runtime-variables.ts'

/** A tree of keys: the shape of a configuration. */
export interface Schema {
  [name: string]: Key<unknown> | Schema
}

/** What a schema's configuration looks like to the code. */
export type Values<S> = { -readonly [K in keyof S]: S[K] extends Key<infer T> ? T : Values<S[K]> }

/** A mistake in the configuration; its message is one line that names the key and holds no secret. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** Tells a key from a section. */
export function isKey(node: Key<unknown> | Schema): node is Key<unknown> {
  return 'parse' in node && typeof node.parse === 'function'
}

/** The environment variable of a key: `gateway.rateLimit.enabled` is `GATEWAY_RATE_LIMIT_ENABLED`. */
export function environmentName(path: string): string {
  return path
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()
}

/** Calls `visit` with each key of a schema and its dotted path, in order. */
export function forEachKey(schema: Schema, visit: (path: string, key: Key<unknown>) => void, prefix = ''): void {
  for (const [name, node] of Object.entries(schema)) {
    if (isKey(node)) visit(prefix + name, node)
    else forEachKey(node, visit, `${prefix}${name}.`)
  }
}

function readFile(file: string, required: boolean): Record<string, unknown> {
  let content: unknown
  try {
    content = parseYaml(readFileSync(file, 'utf8'), { strict: true, uniqueKeys: true, logLevel: 'error' })
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new ConfigError(`${file}: ${whatIsWrong(error)}`)
  }
  if (content === null || content === undefined) return {}
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw new ConfigError(`${file}: got ${kindOf(content)}, takes sections with keys`)
  }
  return content as Record<string, unknown>
}

/** The place and kind of a mistake in a file, without a word of the file, which may hold a secret. */
function whatIsWrong(error: unknown): string {
  // An alias without its anchor, whose name may be a secret.
  if (error instanceof ReferenceError) return 'is not valid YAML (an alias, *name, without its anchor)'
  if (!(error instanceof YAMLError)) return `cannot be read (${(error as NodeJS.ErrnoException).code})${remedy(error)}`
  const [{ line, col }] = error.linePos ?? [{ line: 1, col: 1 }]
  return `is not valid YAML at line ${line}, column ${col} (${error.code})`
}

/** For a file that belongs to another user: in a container, a file of a checkout under umask 077. */
function remedy(error: unknown): string {
  if ((error as NodeJS.ErrnoException).code !== 'EACCES') return ''
  return `: the user of this process (uid ${process.geteuid?.()}) has no permission; make it readable with chmod a+r`
}

const kindOf = (value: unknown) => (Array.isArray(value) ? 'a list' : value === null ? 'nothing' : `a ${typeof value}`)

/** The sections of this schema as the file has them; those of other services are only checked for unknown keys. */
function ownSections(content: Record<string, unknown>, schema: Schema, file: string): Record<string, unknown> {
  const paths = new Set(keyPaths)
  forEachKey(schema, (path) => paths.add(path))
  refuseUnknown(content, namesBySection(paths), file)
  return Object.fromEntries(Object.entries(content).filter(([name, section]) => name in schema && section !== null))
}

function valueAt(tree: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((node, name) => (node as Record<string, unknown> | undefined)?.[name], tree)
}

function setAt(tree: Record<string, unknown>, path: string, value: unknown): void {
  const names = path.split('.')
  const last = names.pop() as string
  let node = tree
  for (const name of names) {
    node[name] ??= {}
    node = node[name] as Record<string, unknown>
  }
  node[last] = value
}

/**
 * The configuration for a schema: defaults, overlaid by the file, overlaid by the environment.
 *
 * @param commandVariables variables that the calling command reads beside the keys
 * @throws {ConfigError} for an unknown key or variable of any service, a wrong type or an impossible value.
 */
export function loadConfig<S extends Schema>(
  schema: S,
  environment: NodeJS.ProcessEnv = process.env,
  commandVariables: readonly string[] = []
): Values<S> {
  const danger = dangerousVariable(environment)
  if (danger !== undefined) throw new ConfigError(danger)
  refuseUnknownVariables(schema, environment, commandVariables)
  const file = environment.CONFIG_FILE || 'config.yml'
  const config = convict(
    convictSchema(schema, environment.NODE_ENV === 'production') as convict.Schema<Record<string, unknown>>
  )
  const written = ownSections(readFile(file, environment.CONFIG_FILE !== undefined), schema, file)
  config.load(written)
  forEachKey(schema, (path, key) => {
    const name = environmentName(path)
    const text = environment[name]
    if (text !== undefined && !isServiceLink(name, environment)) config.set(path, key.fromText(text))
  })
  const properties = config.getProperties()
  const values: Record<string, unknown> = {}
  forEachKey(schema, (path, key) => {
    setAt(values, path, parseKey(path, key, valueAt(properties, path), environment))
  })
  config.validate({ allowed: 'strict' })
  return values as Values<S>
}

function parseKey(path: string, key: Key<unknown>, written: unknown, environment: NodeJS.ProcessEnv): unknown {
  try {
    return key.parse(written)
  } catch (error) {
    if (error instanceof ConfigError) throw error
    const name = environmentName(path)
    const got = key.sensitive ? 'a value (not shown)' : JSON.stringify(written)
    const origin = environment[name] === undefined ? '' : ` from ${name}`
    throw new ConfigError(`${path}: got ${got}${origin}, takes ${key.accepts}`)
  }
}

function refuseUnknown(
  tree: Record<string, unknown>,
  children: ReadonlyMap<string, string[]>,
  file: string,
  parent = ''
): void {
  const names = children.get(parent) as string[]
  for (const [name, value] of Object.entries(tree)) {
    const path = parent === '' ? name : `${parent}.${name}`
    if (!names.includes(name)) {
      const what = parent === '' ? 'section' : 'key'
      // Without the blank behind its colon, `{token:secret}` is a name.
      const isName = /^[\w.<-]{1,64}$/.test(name)
      const shown = isName ? path : `${parent === '' ? '' : `${parent}: `}a name that is not shown`
      const hint = isName ? ` (the nearest is ${nearest(name, names)})` : ' (a colon needs a blank behind it)'
      throw new ConfigError(`${shown}: unknown ${what} in ${file}, takes ${names.join(', ')}${hint}`)
    }
    if (!children.has(path) || (parent === '' && value === null)) continue
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new ConfigError(`${path}: got ${kindOf(value)}, takes a section with keys`)
    }
    refuseUnknown(value as Record<string, unknown>, children, file, path)
  }
}

/** Variables that are no keys and that the product reads. */
const otherVariables = ['CONFIG_FILE']

/** Refuses a variable that looks like the product's and is none; its value may be a secret and is not part of the message. */
function refuseUnknownVariables(schema: Schema, environment: NodeJS.ProcessEnv, commandVariables: readonly string[]) {
  const paths = new Map(keyPaths.map((path) => [environmentName(path), path]))
  forEachKey(schema, (path) => paths.set(environmentName(path), path))
  const known = new Set([...paths.keys(), ...otherVariables, ...commandVariables])
  const sections = new Set([...paths.values()].map((path) => path.split('.')[0] as string))
  const prefixes = [...sections].map((section) => `${environmentName(section)}_`)
  const unknown = unknownVariable(environment, known, prefixes)
  if (unknown === undefined) return
  const path = paths.get(unknown.nearest)
  const key = path === undefined ? '' : ` (${path})`
  throw new ConfigError(`${unknown.name}: unknown variable, the nearest is ${unknown.nearest}${key}`)
}

function convictSchema(schema: Schema, production: boolean): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema).map(([name, node]) => [
      name,
      isKey(node)
        ? // Any format: convict's own coercions take `yes` for true and `12abc` for a number, so keys parse for themselves.
          {
            default: (production ? node.productionDefault : undefined) ?? node.default,
            doc: node.doc,
            sensitive: node.sensitive,
            format: '*'
          }
        : convictSchema(node, production)
    ])
  )
}

/** Refuses an engine's address that is not given. */
export function requireAddress(path: string, written: string | string[]): void {
  if (written.length === 0) {
    throw new ConfigError(`${path}: is missing; takes the address of the engine (${environmentName(path)})`)
  }
}
