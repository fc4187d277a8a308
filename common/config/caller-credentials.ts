/** Checks of the credentials that a service presents to others (`rpc.ownToken`) and accepts (`rpc.callers`). */

import { parseCaller } from '#common/rpc/callers.ts'
import { ConfigError } from './load.ts'
import { requireStrongRpcToken, weakness } from './shared-sections.ts'

type Tokens = Record<'token' | 'previousToken', string>
type AdminTokens = Partial<Record<'adminToken' | 'previousAdminToken', string>>

const isProduction = (environment: NodeJS.ProcessEnv) => environment.NODE_ENV === 'production'

/** Requires a credential to present: `rpc.ownToken`, or `rpc.token`. In production a strong one. */
export function requirePresentedToken(rpc: Tokens & { ownToken: string }, environment = process.env): void {
  if (rpc.ownToken === '') requireStrongRpcToken(rpc, environment)
  const problem = rpc.ownToken === '' ? undefined : weakness(rpc.ownToken, isProduction(environment))
  if (problem) throw new ConfigError(`rpc.ownToken: ${problem}; takes at least 32 random characters (RPC_OWN_TOKEN)`)
}

/** Requires credentials of callers: `rpc.callers`, or `rpc.token`. */
export function requireAcceptedCallers(
  rpc: Tokens & AdminTokens & { callers: readonly string[] },
  environment = process.env
): void {
  if (rpc.token !== '' || rpc.callers.every((entry) => entry === '')) requireStrongRpcToken(rpc, environment)
  requireCallers(rpc, environment)
}

/** Requires that each entry of `rpc.callers` is valid, has a token of its own, and in production a strong one. */
export function requireCallers(
  rpc: Tokens & AdminTokens & { callers: readonly string[] },
  environment = process.env
): void {
  const entries = rpc.callers.filter((entry) => entry !== '')
  const { token, previousToken, adminToken = '', previousAdminToken = '' } = rpc
  const taken = new Set([token, previousToken, adminToken, previousAdminToken])
  for (const [index, entry] of entries.entries()) {
    const problem = problemOf(entry, taken, isProduction(environment))
    if (problem) throw new ConfigError(`rpc.callers: entry ${index + 1} ${problem} (RPC_CALLERS)`)
  }
}

function problemOf(entry: string, taken: Set<string>, production: boolean): string | undefined {
  try {
    const { token } = parseCaller(entry)
    const weak = weakness(token, production)
    if (weak) return `has a token that ${weak}; takes at least 32 random characters`
    if (taken.has(token)) return 'has the token of another caller; takes one of its own'
    taken.add(token)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
