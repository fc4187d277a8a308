/** Loads `config.yml` and the environment into one typed, checked object. Each mistake is one line of a ConfigError. */

import { readFileSync } from 'node:fs'
import convict from 'convict'
import { parse as parseYaml, YAMLError } from 'yaml'
import { secretPaths } from './catalogue.ts'
import { isServiceLink } from './foreign-variables.ts'
import { coercions, type Key, textFormats } from './keys.ts'
import { namesBySection, nearest, unknownVariables } from './misspelt-variables.ts'
import { dangerousVariables } from './runtime-variables.ts'
import { fileVariable, readSecretFiles } from './secret-files.ts'

/** A tree of keys: the shape of a configuration. */
export interface Schema {
  [name: string]: Key<unknown> | Schema
}

/** The configuration of a schema, as the code reads it. */
export type Values<S> = { -readonly [K in keyof S]: S[K] extends Key<infer T> ? T : Values<S[K]> }

/** Keys and variables that are known beside those of the schema. */
interface AlsoKnown {
  /** Paths of other services' keys: the file and the environment may set them. */
  otherKeys?: readonly string[]
  /** Variables that the calling command reads. */
  commandVariables?: readonly string[]
}

/** Mistakes in the configuration: its message has one line for each, which names the key and contains no secret. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

/** Whether a node of a schema is a key, not a section. */
function isKey(node: Key<unknown> | Schema): node is Key<unknown> {
  return typeof node.isValid === 'function'
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

convict.addFormats(
  Object.fromEntries(Object.entries(coercions).map(([format, coerce]) => [format, { coerce, validate }]))
)

function validate(value: unknown, { isValid, wrongItem, accepts, got }: Key<unknown> & { got: string }): void {
  if (isValid(value)) return
  const item = wrongItem?.(value)
  throw new Error(`got ${got}, takes ${accepts}${item === undefined ? '' : `; not accepted: ${item}`}`)
}

/**
 * The configuration of a schema: defaults, overridden by the file, overridden by the environment.
 *
 * @throws {ConfigError} for an unknown key or variable of any service, a wrong type or an impossible value.
 */
export function loadConfig<S extends Schema>(
  schema: S,
  environment: NodeJS.ProcessEnv = process.env,
  { otherKeys = [], commandVariables = [] }: AlsoKnown = {}
): Values<S> {
  const paths = [...otherKeys]
  forEachKey(schema, (path) => paths.push(path))
  const file = environment.CONFIG_FILE || 'config.yml'
  const content = readFile(file, environment.CONFIG_FILE !== undefined)
  const names = namesBySection(paths)
  const secrets = secretVariables(schema)
  const withSecrets = readSecretFiles(environment, secrets)
  const fileVariables = [...secrets, ...secretPaths.map(environmentName)].map(fileVariable)
  const keys = new Map(paths.map((path) => [environmentName(path), path]))
  const sections = (names.get('') ?? []).map(environmentName)
  const problems = [
    ...dangerousVariables(environment),
    ...unknownVariables(environment, keys, sections, ['CONFIG_FILE', ...fileVariables, ...commandVariables]),
    ...withSecrets.problems
  ]
  const own = ownKeys(content, schema, { file, names, problems })
  const env = Object.fromEntries(
    Object.entries(withSecrets.environment).filter(([name]) => !isServiceLink(name, environment))
  )
  const config = convict(convictSchema(schema, content, env) as convict.Schema<Values<S>>, { env, args: [] })
  try {
    config.load(own).validate({ allowed: 'strict' })
  } catch (error) {
    problems.push((error as Error).message)
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  return config.getProperties() as Values<S>
}

/** The variables of the secrets of a schema. */
function secretVariables(schema: Schema): string[] {
  const variables: string[] = []
  forEachKey(schema, (path, { sensitive }) => {
    if (sensitive) variables.push(environmentName(path))
  })
  return variables
}

/** A URL with a user and a password, which any key can get by mistake. */
const hasUrlLogin = /:\/\/[^\s]*@/

/** The schema as convict takes it. Each key gets the value that a message about it shows. */
function convictSchema(schema: Schema, content: unknown, env: NodeJS.ProcessEnv, prefix = ''): object {
  const entries = Object.entries(schema).map(([name, node]) => {
    const path = prefix + name
    const written = (content as Record<string, unknown> | null | undefined)?.[name]
    if (!isKey(node)) return [name, convictSchema(node, written, env, `${path}.`)]
    const variable = environmentName(path)
    const text = env[variable]
    const shown = JSON.stringify(text ?? written)
    const isSecret = node.sensitive || hasUrlLogin.test(shown)
    const got = isSecret ? 'a value (not shown)' : shown
    return [
      name,
      {
        ...node,
        ...(isSecret && { wrongItem: undefined }),
        default: (env.NODE_ENV === 'production' ? node.productionDefault : undefined) ?? node.default,
        env: variable,
        got: text === undefined ? got : `${got} from ${variable}`,
        // Or convict appends the coerced value to the message.
        sensitive: true
      }
    ]
  })
  return Object.fromEntries(entries)
}

function readFile(file: string, isRequired: boolean): Record<string, unknown> {
  let content: unknown
  try {
    content = parseYaml(readFileSync(file, 'utf8'), { strict: true, uniqueKeys: true, logLevel: 'error' })
  } catch (error) {
    if (!isRequired && (error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw new ConfigError(`${file}: ${describeReadError(error)}`)
  }
  if (isSection(content ?? {})) return (content ?? {}) as Record<string, unknown>
  throw new ConfigError(`${file}: got ${kindOf(content)}, takes sections with keys`)
}

/** The place and kind of a mistake in a file, without any text of the file, which may be a secret. */
function describeReadError(error: unknown): string {
  // The name of an alias without an anchor may be a secret.
  if (error instanceof ReferenceError) return 'is not valid YAML (an alias, *name, without its anchor)'
  if (error instanceof YAMLError) {
    const [{ line, col }] = error.linePos ?? [{ line: 1, col: 1 }]
    return `is not valid YAML at line ${line}, column ${col} (${error.code})`
  }
  const { code } = error as NodeJS.ErrnoException
  if (code !== 'EACCES') return `cannot be read (${code})`
  // In a container, the file of a checkout under umask 077 belongs to another user.
  return `cannot be read (EACCES): the user of this process (uid ${process.geteuid?.()}) has no permission; make it readable with chmod a+r`
}

const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const kindOf = (value: unknown) => (Array.isArray(value) ? 'a list' : value === null ? 'nothing' : `a ${typeof value}`)

interface FileCheck {
  file: string
  /** The known names in each section, by its path. */
  names: ReadonlyMap<string, string[]>
  problems: string[]
}

/** The keys of `schema` in a section of the file. Adds a line to the problems for each unknown key of any service. */
function ownKeys(section: Record<string, unknown>, schema: Schema, check: FileCheck, parent = ''): object {
  const known = check.names.get(parent) as string[]
  const own: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(section)) {
    const path = parent === '' ? name : `${parent}.${name}`
    const node = Object.hasOwn(schema, name) ? schema[name] : undefined
    if (!known.includes(name)) check.problems.push(unknownName(name, parent, known, check.file))
    else if (!check.names.has(path)) {
      if (node !== undefined) own[name] = writtenValue(node as Key<unknown>, value)
    } else if (isSection(value)) {
      const keys = ownKeys(value, (node ?? {}) as Schema, check, path)
      if (node !== undefined) own[name] = keys
    } else if (value !== null || parent !== '') {
      check.problems.push(`${path}: got ${kindOf(value)}, takes a section with keys`)
    }
  }
  return own
}

/** A value of the file as convict takes it; null, which no key accepts, for one of a wrong type. */
function writtenValue({ format }: Key<unknown>, value: unknown): unknown {
  if (isSection(value) || (typeof value === 'string' && !textFormats.includes(format))) return null
  // convict coerces text only.
  return format === 'duration' && typeof value === 'number' ? String(value) : value
}

function unknownName(name: string, parent: string, known: string[], file: string): string {
  const what = parent === '' ? 'section' : 'key'
  // YAML reads `{token:secret}`, without a blank after the colon, as a name.
  const isName = /^[\w.<-]{1,64}$/.test(name)
  const path = [parent, isName ? name : ''].filter((part) => part !== '').join('.')
  const shown = isName ? path : [path, 'a name that is not shown'].filter((part) => part !== '').join(': ')
  const hint = isName ? `the nearest is ${nearest(name, known)}` : 'a colon needs a blank behind it'
  return `${shown}: unknown ${what} in ${file}, takes ${known.join(', ')} (${hint})`
}

/** Requires the address of an engine. */
export function requireAddress(path: string, written: string | string[]): void {
  if (written.length > 0) return
  throw new ConfigError(`${path}: is missing; takes the address of the engine (${environmentName(path)})`)
}
