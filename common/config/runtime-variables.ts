/** Variables of Node.js and of drivers that would change the product's connections or print credentials. */

import { editDistance } from './misspelt-variables.ts'

// `development` and `staging` are none.
const isProductionMisspelt = (name: string) =>
  /^\s*(prod|prd\b)/i.test(name) || editDistance(name.trim().toLowerCase(), 'production') <= 3

/** What is wrong with a variable of the runtime: one line that names it, or nothing. */
export function dangerousVariable(environment: NodeJS.ProcessEnv): string | undefined {
  const { NODE_ENV = '', NODE_TLS_REJECT_UNAUTHORIZED, NODE_DEBUG = '', NODE_DEBUG_NATIVE = '' } = environment
  if (NODE_ENV !== 'production' && isProductionMisspelt(NODE_ENV)) {
    return `NODE_ENV: got ${JSON.stringify(NODE_ENV)}, the nearest is production`
  }
  if (NODE_TLS_REJECT_UNAUTHORIZED === '0') {
    return 'NODE_TLS_REJECT_UNAUTHORIZED: got "0", which accepts every certificate; takes no value (NODE_EXTRA_CA_CERTS names more authorities)'
  }
  for (const [name, value] of Object.entries({ NODE_DEBUG, NODE_DEBUG_NATIVE })) {
    if (/http|net|tls|stream|undici|fetch|\*/i.test(value)) {
      return `${name}: got ${JSON.stringify(value)}, which prints requests with their credentials; takes no part of the network`
    }
  }
  return undefined
}

/**
 * Removes the variables from which drivers of PostgreSQL silently complete an address: the configured URL alone counts.
 * To be called at the edge, before anything connects (for `NODE_PG_FORCE_NATIVE`: no-native-driver.ts).
 */
export function dropDriverVariables(environment: NodeJS.ProcessEnv = process.env): void {
  for (const name of Object.keys(environment)) {
    if (/^PG[A-Z]+/.test(name)) delete environment[name]
  }
}
