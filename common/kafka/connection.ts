/** TLS and SASL of the connections to the brokers, as kafkajs takes them. */

import { connect } from 'node:tls'
import type { KafkaConfig, SASLOptions } from 'kafkajs'
import { clientTls, tlsHost } from '#common/tls/client-options.ts'
import type { PemFiles } from '#common/tls/pem-source.ts'

export interface KafkaConnection {
  brokers: string[]
  /** Without TLS if missing. */
  tls?: PemFiles & { enabled: boolean }
  sasl?: { mechanism: 'none' | 'plain' | 'scram-sha-256' | 'scram-sha-512'; username: string; password: string }
}

type SaslOptions = NonNullable<KafkaConnection['sasl']>

export function saslOptions(sasl: SaslOptions | undefined): Pick<KafkaConfig, 'sasl'> {
  if (sasl === undefined || sasl.mechanism === 'none') return {}
  return { sasl: sasl as SASLOptions }
}

const keepAliveMs = 60_000

/** Each connection reads the certificates again. */
export function tlsOptions(tls: KafkaConnection['tls']): Pick<KafkaConfig, 'ssl' | 'socketFactory'> {
  if (!tls?.enabled) return {}
  const options = clientTls(tls)
  return {
    ssl: true,
    socketFactory({ host, port, onConnect }) {
      const socket = connect({ ...options(), ...tlsHost(host), port }, onConnect)
      return socket.setKeepAlive(true, keepAliveMs)
    }
  }
}
