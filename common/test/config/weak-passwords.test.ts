/** Production refuses passwords of engines that are names, words, or words with digits. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { password } from '#common/config/keys.ts'
import { requireProduction } from '#common/config/production.ts'
import { url } from '#common/config/url-keys.ts'
import { messageOf } from './example.ts'

const schema = {
  redis: { url: url(['redis'], '') },
  kafka: { sasl: { password: password('') } },
  userSvc: { postgres: { url: url(['postgres'], '') } }
}
// Long enough that none is a sample by chance.
const random = () => randomBytes(24).toString('base64').replaceAll(/[+/]/g, '0')

/** The message for passwords of the user `auth_service` of PostgreSQL, of Redis, and of the user `log-shipper` of Kafka. */
function problem({ postgres = random(), redis = random(), kafka = random() }): string {
  const config = {
    security: { allowPlaintext: false },
    redis: { topology: 'single', url: `redis://:${redis}@127.0.0.1`, nodes: [], sentinelPassword: '' },
    kafka: {
      enabled: true,
      brokers: ['127.0.0.1:9092'],
      tls: { enabled: false },
      sasl: { mechanism: 'plain', username: 'log-shipper', password: kafka }
    },
    userSvc: { postgres: { url: `postgres://auth_service:${postgres}@127.0.0.1/auth`, migrationUrl: '' } }
  }
  return messageOf(() => requireProduction(config, { schema, environment: { NODE_ENV: 'production' } }))
}

t.test('a password is no name of a user, no word, and neither with digits', async (t) => {
  for (const weak of [
    ...[
      'auth_service',
      'Auth-Service!',
      'auth_service2024',
      'AUTH_SERVICE_1',
      'service_auth_service',
      'ecommerce12345'
    ],
    ...['administrator', 'Administrator1', 'postgres_admin1', 'Postgres-2024-Admin', 'christopher1', 'playstation2'],
    ...['log-shipper-17b', 'Log.Shipper~17b', '739104628150']
  ]) {
    t.match(problem({ postgres: weak }), /^userSvc\.postgres\.url: has a (sample )?password /, weak)
    t.match(problem({ redis: weak }), /^redis\.url: has a (sample )?password /, weak)
    t.match(problem({ kafka: weak }), /^kafka\.sasl\.password: has a (sample )?password /, weak)
  }
  t.match(
    problem({ postgres: 'auth_service2024' }),
    /has a password made of names or usual words, which production does not allow/
  )
  t.notMatch(problem({ postgres: 'auth_service2024' }), /2024/, 'the message does not show the password')
})

t.test('letters of one case are no word from 16 letters on, with or without digits at the end', async (t) => {
  for (const random of [
    ...['qhzvkwpmxtyrbncg', 'qhzvkwpmxtyrbncgfdwj', 'qhzv-kwpm-xtyr-bncg-fdwj-zkxm', 'Qhzvkwpmxtyrbncg42'],
    ...['QHZVKWPMXTYRBNCG', 'harbour plenty velvet tunic', 'жщкфюэълчыхпзмшг']
  ]) {
    t.equal(problem({ postgres: encodeURIComponent(random) }), '', random)
    t.equal(problem({ kafka: random }), '', random)
  }
  for (const weak of ['qhzvkwpmxtyrbnc', 'Playstation.20242025', 'QHZVKWPMXTYRBNC7391', '7391046281507391046281']) {
    t.equal(
      problem({ kafka: weak }),
      'kafka.sasl.password: has a password that can be a word with digits, which production does not allow; takes at least 16 letters, or digits between letters (KAFKA_SASL_PASSWORD)',
      weak
    )
  }
  t.equal(problem({ kafka: 'qhz7kwpmxtyr' }), '', 'digits between letters')
})

t.test('random passwords are accepted, also behind the name of the user', async (t) => {
  for (let run = 0; run < 100; run++) t.equal(problem({}), '')
  t.equal(problem({ postgres: `auth_service-${random()}` }), '')
})
