/** Checks of the credentials that a service presents to others (`rpc.ownToken`) and accepts (`rpc.callers`). */

import { parseCaller } from '#common/rpc/callers.ts'
import { ConfigError } from './load.ts'
import { requireStrongRpcToken, weakness } from './shared-sections.ts'

type Tokens = Record<'token' | 'previousToken', string>
type AdminTokens = Partial<Record<'adminToken' | 'previousAdminToken', string>>
type Accepted = Tokens & AdminTokens & { callers: readonly string[]; tls?: { clientCert: string } }

const isProduction = (environment: NodeJS.ProcessEnv) => environment.NODE_ENV === 'production'

/** Requires a credential to present: `rpc.ownToken`, `rpc.token`, or a certificate. In production a strong one. */
export function requirePresentedCredential(
  rpc: Tokens & { ownToken: string; tls?: { cert: string } },
  environment = process.env
): void {
  if (rpc.ownToken === '' && rpc.token === '' && rpc.tls?.cert) return
  if (rpc.ownToken === '') requireStrongRpcToken(rpc, environment)
  const problem = rpc.ownToken === '' ? undefined : weakness(rpc.ownToken, isProduction(environment))
  if (problem) throw new ConfigError(`rpc.ownToken: ${problem}; takes at least 32 random characters (RPC_OWN_TOKEN)`)
}

/** Requires credentials of callers: `rpc.callers`, or `rpc.token`. */
export function requireAcceptedCallers(rpc: Accepted, environment = process.env): void {
  if (rpc.token !== '' || rpc.callers.every((entry) => entry === '')) requireStrongRpcToken(rpc, environment)
  requireCallers(rpc, environment)
}

/** Requires that each entry of `rpc.callers` is valid, has a token of its own, and in production a strong one. */
export function requireCallers(rpc: Accepted, environment = process.env): void {
  const entries = rpc.callers.filter((entry) => entry !== '')
  const { token, previousToken, adminToken = '', previousAdminToken = '' } = rpc
  const taken = new Set([token, previousToken, adminToken, previousAdminToken])
  for (const [index, entry] of entries.entries()) {
    const problem = problemOf(entry, taken, rpc.tls?.clientCert ?? 'none', isProduction(environment))
    if (problem) throw new ConfigError(`rpc.callers: entry ${index + 1} ${problem} (RPC_CALLERS)`)
  }
}

function problemOf(entry: string, taken: Set<string>, clientCert: string, production: boolean): string | undefined {
  try {
    const { token, certificate } = parseCaller(entry)
    if (certificate !== undefined && clientCert === 'none')
      return 'has a certificate; takes rpc.tls.clientCert request or require'
    const weak = certificate === undefined ? weakness(token, production) : undefined
    if (weak) return `has a token that ${weak}; takes at least 32 random characters`
    const credential = certificate ?? token
    if (taken.has(credential))
      return `has the ${certificate === undefined ? 'token' : 'certificate'} of another caller; takes one of its own`
    taken.add(credential)
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
