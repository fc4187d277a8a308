/** The variables of the make commands, and a check for misspelt ones on make's command line. */

import { isForeign } from '#common/config/foreign-variables.ts'
import { ConfigError, environmentName, forEachKey } from '#common/config/load.ts'
import { nearest } from '#common/config/misspelt-variables.ts'
import { schema } from './config.ts'

/** Of `make run`. */
export const runVariables = ['GATEWAYS', 'USER_SVCS', 'SESSION_SVCS', 'LOG_SINKS', 'KAFKA'] as const

/** Of `make logs`. */
export const logsVariables = ['TRACE', 'SERVICE', 'LEVEL', 'SINCE', 'FOLLOW'] as const

// Variables of Node.js and of the operating system.
const runtime = /^(NODE_|UV_|LC_|JAVA_|HTTPS?_PROXY$|NO_PROXY$|NO_COLOR$|FORCE_COLOR$|LANG$|TZ$|CONFIG_FILE$)/

/**
 * Rejects a variable on make's command line that no code reads, such as `make logs TRACES=...`.
 *
 * @throws {ConfigError} that names the variable and the nearest one
 */
export function requireKnownMakeVariables(commandVariables: readonly string[], environment = process.env): void {
  const keys: string[] = []
  forEachKey(schema, (path) => keys.push(environmentName(path)))
  for (const name of makeVariables(environment.MAKEFLAGS ?? '')) {
    if ([...commandVariables, ...keys].includes(name) || runtime.test(name) || isForeign(name, environment)) continue
    const takes = [commandVariables.join(', '), "the configuration's keys"].filter((each) => each !== '').join(' and ')
    throw new ConfigError(
      `${name}: unknown variable, takes ${takes} (the nearest is ${nearest(name, [...commandVariables, ...keys])})`
    )
  }
}

/** The names that make's command line sets. MAKEFLAGS lists them after ` -- `, with a backslash before each blank of a value. */
function makeVariables(flags: string): string[] {
  const [, assignments = ''] = /(?:^|\s)-- (.*)$/s.exec(flags) ?? []
  const words = assignments.match(/(?:\\[\s\S]|[^\s\\])+/g) ?? []
  return words.flatMap((word) => /^([^\s:+?!=]+)(?::{0,3}|\+|\?|!)=/.exec(word)?.[1] ?? [])
}
