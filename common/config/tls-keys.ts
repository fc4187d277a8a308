/** The keys of TLS and SASL that several sections share. */

import { choice, flag, password, text } from './keys.ts'
import { ConfigError } from './load.ts'

/** A file in PEM format, or none. */
export function pemFile(doc: string) {
  return text('', doc, 'the path of a PEM file', /^[^\0\r\n]*$/)
}

/** The certificates with which a client connects to a server. */
export function clientTlsKeys(server: string) {
  return {
    ca: pemFile(`PEM file of the CAs that may sign the certificate of ${server}. Empty: the CAs of Node.js.`),
    cert: pemFile(`PEM file of the client certificate for ${server}, with its chain. Empty: none.`),
    key: pemFile('PEM file of the private key of the client certificate.')
  }
}

/** TLS between the services: the certificate of a service serves its RPC port, and identifies it to other services. */
export const rpcTls = {
  cert: pemFile(
    'PEM file of the certificate of this service, with its chain: for its RPC port, and for its own calls to other services. Empty: its RPC port has no TLS.'
  ),
  key: pemFile('PEM file of the private key of `rpc.tls.cert`.'),
  ca: pemFile('PEM file of the CAs that may sign the certificates of other services. Empty: the CAs of Node.js.'),
  clientCert: choice(
    ['none', 'request', 'require'],
    'none',
    'Whether RPC clients present a certificate of `rpc.tls.ca`. `request`: those that have one; an invalid one is rejected.'
  ),
  crl: pemFile(
    'PEM file of the lists of revoked client certificates, one for each CA of `rpc.tls.ca`. Replace it before it expires: an expired list rejects every client.'
  )
}

/** Rejects a check of clients that would accept certificates of every public CA. */
export function requireTrustedCa({ clientCert, ca, cert }: Record<keyof typeof rpcTls, string>): void {
  if (clientCert === 'none') return
  if (ca === '')
    throw new ConfigError('rpc.tls.ca: is missing; rpc.tls.clientCert takes the CAs of the clients (RPC_TLS_CA)')
  if (cert === '') throw new ConfigError('rpc.tls.cert: is missing; rpc.tls.clientCert takes TLS (RPC_TLS_CERT)')
}

/** TLS of the REST routes. */
export const gatewayTls = {
  cert: pemFile('PEM file of the certificate of the REST routes, with its chain. Empty: no TLS.'),
  key: pemFile('PEM file of the private key of `gateway.tls.cert`.')
}

/** TLS to the brokers. */
export const kafkaTls = {
  enabled: flag(false, 'Connect to the brokers by TLS (1.2 or newer), and check their certificates and names.'),
  ...clientTlsKeys('the brokers')
}

/** The login at the brokers. */
export const kafkaSasl = {
  mechanism: choice(
    ['none', 'plain', 'scram-sha-256', 'scram-sha-512'],
    'none',
    'SASL mechanism of the login at the brokers.'
  ),
  username: text('', 'User of the login at the brokers.'),
  password: password('Password of the login at the brokers.')
}
