/** Variables of Node.js and of drivers that would change the product's connections or print credentials. */

import { editDistance } from './misspelt-variables.ts'

// `development` and `staging` are not.
const isProductionMisspelt = (name: string) =>
  /^\s*(prod|prd\b)/i.test(name) || editDistance(name.trim().toLowerCase(), 'production') <= 3

/** Options of Node.js for ambiguous requests, for versions of TLS before 1.2, and for the keys or packets of TLS in a file. */
const weakeningOptions = /^--(insecure[-_]http[-_]parser|tls[-_](min|max)[-_]v1\.[01]|tls[-_]keylog|trace[-_]tls)\b/

/** The variables of the runtime that must not be set like this: one line for each, which names it. */
export function dangerousVariables(environment: NodeJS.ProcessEnv): string[] {
  const {
    NODE_ENV = '',
    NODE_TLS_REJECT_UNAUTHORIZED,
    NODE_DEBUG = '',
    NODE_DEBUG_NATIVE = '',
    NODE_OPTIONS = ''
  } = environment
  const problems: string[] = []
  if (NODE_ENV !== 'production' && isProductionMisspelt(NODE_ENV)) {
    problems.push(`NODE_ENV: got ${JSON.stringify(NODE_ENV)}, the nearest is production`)
  }
  if (NODE_TLS_REJECT_UNAUTHORIZED === '0') {
    const remedy = 'takes no value (NODE_EXTRA_CA_CERTS names more authorities)'
    problems.push(`NODE_TLS_REJECT_UNAUTHORIZED: got "0", which accepts every certificate; ${remedy}`)
  }
  for (const [name, value] of Object.entries({ NODE_DEBUG, NODE_DEBUG_NATIVE })) {
    if (!/http|net|tls|stream|undici|fetch|\*/i.test(value)) continue
    const reason = 'which prints requests with their credentials; takes no part of the network'
    problems.push(`${name}: got ${JSON.stringify(value)}, ${reason}`)
  }
  for (const option of NODE_OPTIONS.split(/\s+/)) {
    if (!weakeningOptions.test(option)) continue
    problems.push(
      `NODE_OPTIONS: got ${option.replace(/=.*/, '')}, which weakens or shows every connection; takes other options`
    )
  }
  return problems
}

/**
 * Removes the variables from which drivers of PostgreSQL complete an address without notice: only the configured URL
 * counts. Call it at the edge, before the first connection (for `NODE_PG_FORCE_NATIVE`: no-native-driver.ts).
 */
export function dropDriverVariables(environment: NodeJS.ProcessEnv = process.env): void {
  for (const name of Object.keys(environment)) {
    if (/^PG[A-Z]+/.test(name)) delete environment[name]
  }
}
