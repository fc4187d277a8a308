/** The variables that the make commands read beside the configuration's keys, and those that a command line misspells. */

import { isForeign } from '#common/config/foreign-variables.ts'
import { ConfigError, environmentName, forEachKey } from '#common/config/load.ts'
import { nearest } from '#common/config/misspelt-variables.ts'
import { schema } from './config.ts'

/** Of `make run`. */
export const runVariables = ['GATEWAYS', 'USER_SVCS', 'SESSION_SVCS', 'LOG_SINKS', 'KAFKA'] as const

/** Of `make logs`. */
export const logsVariables = ['TRACE', 'SERVICE', 'LEVEL', 'SINCE', 'FOLLOW'] as const

// Of the runtime: whatever follows.
const runtime = /^(NODE_|UV_|LC_|JAVA_|HTTPS?_PROXY$|NO_PROXY$|NO_COLOR$|FORCE_COLOR$|LANG$|TZ$|CONFIG_FILE$)/

/**
 * Refuses a variable on make's command line that nothing reads, such as `make logs TRACES=...`.
 *
 * @throws {ConfigError} that names the variable and the nearest one
 */
export function requireKnownMakeVariables(commandVariables: readonly string[], environment = process.env): void {
  const keys: string[] = []
  forEachKey(schema, (path) => keys.push(environmentName(path)))
  for (const name of makeVariables(environment.MAKEFLAGS ?? '')) {
    if ([...commandVariables, ...keys].includes(name) || runtime.test(name) || isForeign(name, environment)) continue
    const takes = commandVariables.join(', ')
    throw new ConfigError(
      `${name}: unknown variable, takes ${takes} and the configuration's keys (the nearest is ${nearest(name, [...commandVariables, ...keys])})`
    )
  }
}

/** The names that make's command line sets; make passes them on after ` -- `, with a backslash before each blank of a value. */
function makeVariables(flags: string): string[] {
  const [, assignments = ''] = /(?:^|\s)-- (.*)$/s.exec(flags) ?? []
  const words = assignments.match(/(?:\\[\s\S]|[^\s\\])+/g) ?? []
  return words.flatMap((word) => /^([^\s:+?!=]+)(?::{0,3}|\+|\?|!)=/.exec(word)?.[1] ?? [])
}
