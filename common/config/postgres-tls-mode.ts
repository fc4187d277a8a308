/** The TLS of a connection to PostgreSQL, by the parameters of its URL: the driver and the check of production both use it. */

/** `require`: TLS without a check of the certificate. `verify-ca` checks its CA, `verify-full` also the host. */
export type PostgresTlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full'

/** @param parameters of a URL to a host; a connection to a socket has no TLS */
export function postgresTlsMode(parameters: ReadonlyMap<string, string>): PostgresTlsMode {
  const ssl = parameters.get('ssl')
  const root = parameters.get('sslrootcert')
  const byFlag = ssl === undefined ? undefined : /^(false|0)$/.test(ssl) ? 'disable' : 'require'
  const impliesTls = root !== undefined || parameters.has('sslcert') || parameters.get('sslnegotiation') === 'direct'
  const requested = parameters.get('sslmode') ?? byFlag ?? (impliesTls ? 'require' : 'disable')
  if (requested === 'disable') return 'disable'
  // As libpq: a root certificate implies verification, and the system's root certificates that of the name.
  if (requested === 'verify-full' || root === 'system') return 'verify-full'
  // Without a root certificate, every public CA could sign.
  return root && requested !== 'no-verify' ? 'verify-ca' : 'require'
}
