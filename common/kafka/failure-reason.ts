/** Describes a failure of the brokers to an operator, in a few words and without any text of the configuration. */

import { tlsFailure } from '#common/tls/failure.ts'

/** An error of kafkajs. */
export interface KafkaFailure extends Error {
  type?: string
  code?: string | number
}

export function describeKafkaFailure(error: unknown, topic?: string): string {
  const { type, code, name, cause, message } = error as KafkaFailure
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return `there is no topic ${topic ?? 'of this name'}`
  if (type !== undefined && authorizationFailures.has(type)) return `the brokers do not authorize this user (${type})`
  if (cause instanceof Error && (cause as KafkaFailure).name !== name) return describeKafkaFailure(cause, topic)
  if (name === 'KafkaJSSASLAuthenticationError') return saslFailure(message)
  if (type !== undefined) return `the brokers answer ${type}`
  const tls = tlsFailure(code)
  if (tls !== undefined) return `no broker is usable: ${tls} (${code})`
  if (/^connect E|Connection error|Connection timeout|ECONN/.test(message)) return 'no broker is reachable'
  if (/deadline|in time|timed out/i.test(message)) return 'the brokers do not respond in time'
  return `no broker is usable (${code ?? name})`
}

const authorizationFailures = new Set([
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED'
])

/** The message of kafkajs 2.2.4 or of the broker; a broker may quote its user, so no part of it is shown. */
function saslFailure(message: string): string {
  return /mechanism is not supported/.test(message)
    ? 'the brokers do not offer the mechanism of kafka.sasl.mechanism'
    : 'the brokers reject the user or the password of kafka.sasl'
}
