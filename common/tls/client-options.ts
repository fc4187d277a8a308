/** The TLS options of a client, from PEM files that each new connection reads again. */

import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { createPemSource, type NameOf, type PemFiles, refreshIfUsable } from './pem-source.ts'

/** @returns the options for the next connection */
export function clientTls({ ca = '', cert = '', key = '' }: PemFiles = {}, nameOf?: NameOf): () => ConnectionOptions {
  const pem = createPemSource({ ca, cert, key }, nameOf)
  return () => {
    refreshIfUsable(pem)
    return { ...pem.current(), minVersion: 'TLSv1.2' }
  }
}

/** The host to connect to, without the brackets of an IPv6 address, and its name for SNI: an address has none (RFC 6066, 3). */
export function tlsHost(hostname: string): { host: string; servername?: string } {
  const host = hostname.replaceAll(/[[\]]/g, '')
  return isIP(host) === 0 ? { host, servername: host } : { host }
}
