/** The users of Kafka, who log in by SASL PLAIN, and the settings of a broker that knows them. compose.yaml repeats the settings. */

/** `broker` is the broker at itself, `admin` belongs to operators, `consumer` to applications that read events. */
export const kafkaUsers = ['broker', 'admin', 'gateway', 'user-svc', 'session-svc', 'log-sink', 'consumer'] as const

type KafkaUser = (typeof kafkaUsers)[number]
export type KafkaPasswords = Record<KafkaUser, string>

/** Settings without a secret: clients log in, and the rules of stack/kafka-access.ts decide. */
export const accessControl = {
  'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
  'super.users': 'User:broker;User:admin',
  'sasl.enabled.mechanisms': 'PLAIN',
  'sasl.mechanism.inter.broker.protocol': 'PLAIN',
  'sasl.mechanism.controller.protocol': 'PLAIN'
}

/** The setting with the passwords that a listener accepts, beside the login of the broker itself. */
export const loginSetting = (listener: string) => `listener.name.${listener.toLowerCase()}.plain.sasl.jaas.config`

/** The value of that setting; passwords consist of letters, digits, `-` and `_`. */
export function logins(passwords: Partial<KafkaPasswords> & Pick<KafkaPasswords, 'broker'>): string {
  const accepted = Object.entries(passwords).map(([user, password]) => `user_${user}="${password}"`)
  const own = `username="broker" password="${passwords.broker}"`
  return `org.apache.kafka.common.security.plain.PlainLoginModule required ${own} ${accepted.join(' ')};`
}

/**
 * The settings of the listeners.
 *
 * @param passwords undefined: every client may do everything
 */
export function listenerSettings(clients: string[], passwords: KafkaPasswords | undefined): Record<string, string> {
  const listeners = [...clients, 'CONTROLLER']
  const protocol = passwords ? 'SASL_PLAINTEXT' : 'PLAINTEXT'
  const map = { 'listener.security.protocol.map': listeners.map((name) => `${name}:${protocol}`).join(',') }
  if (!passwords) return map
  return {
    ...map,
    ...accessControl,
    ...Object.fromEntries(clients.map((name) => [loginSetting(name), logins(passwords)])),
    [loginSetting('CONTROLLER')]: logins({ broker: passwords.broker })
  }
}
