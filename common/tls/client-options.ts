/** The TLS options of a client, from PEM files that each new connection reads again. */

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
