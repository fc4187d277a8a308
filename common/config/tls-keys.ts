/** The keys of TLS and SASL that several sections share. */

import { choice, flag, secret, text } from './keys.ts'

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
  password: secret('Password of the login at the brokers.')
}
