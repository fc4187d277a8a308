/** The product with TLS on every hop, RPC callers by certificate, and all certificates in files that a test replaces. */

import { copyFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import { createTestCa, replaceFiles, type TestCa, type TestCertificate } from '#common/testing/certificates.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { createProduct, longBudgets } from './product.ts'
import { startSecureBroker } from './secure-broker.ts'
import { startTlsPostgres } from './tls-postgres.ts'

/** The holders of certificates, and the names in them. */
const holders = {
  rest: ['DNS:localhost'],
  gateway: ['DNS:gateway.internal'],
  'user-svc': ['DNS:localhost', 'DNS:user-svc.internal'],
  'session-svc': ['DNS:localhost'],
  redis: ['IP:127.0.0.1'],
  'redis-client': ['DNS:redis-client.internal'],
  // The common name is the role of PostgreSQL.
  certified: ['DNS:user-svc.internal']
}
type Holder = keyof typeof holders
const names = Object.keys(holders) as Holder[]

/** Prepares the engines and the product; `product.startAll` starts the services. */
export async function createTlsProduct(t: Pick<Test, 'teardown'>) {
  const [ca, nextCa] = [createTestCa(t, 'first'), createTestCa(t, 'second')]
  const trust = ca.file('trust.pem')
  copyFileSync(ca.ca, trust)
  const files = Object.fromEntries(
    names.map((name) => [name, { cert: ca.file(`${name}.pem`), key: ca.file(`${name}.key`) }])
  ) as Record<Holder, TestCertificate>
  const issueAll = (by: TestCa) => {
    for (const name of names) replaceFiles(by.issue(name, holders[name]), files[name])
  }
  issueAll(ca)
  const login = { name: 'product', mechanism: 'scram-sha-512', password: 'password-of-the-services' } as const
  const [postgres, redis, broker] = await Promise.all([
    startTlsPostgres(t, ca),
    startRedisServer(t, [], [], { ca: trust, ...files.redis }),
    startSecureBroker(t, ca, {})
  ])
  await broker.alterUser(login)
  const { cert: sslcert, key: sslkey } = files.certified
  const product = await createProduct(t, {
    ...longBudgets,
    LOG_STDOUT: 'info',
    GATEWAY_TLS_CERT: files.rest.cert,
    GATEWAY_TLS_KEY: files.rest.key,
    RPC_TOKEN: '',
    RPC_CALLERS: 'gateway:cert-dns=gateway.internal,user-svc:cert-dns=user-svc.internal',
    RPC_TLS_CA: trust,
    REDIS_URL: `rediss://${redis.tlsAddress}`,
    REDIS_TLS_CA: trust,
    REDIS_TLS_CERT: files['redis-client'].cert,
    REDIS_TLS_KEY: files['redis-client'].key,
    USER_SVC_POSTGRES_URL: postgres.urlOf('certified', {
      sslmode: 'verify-full',
      sslrootcert: trust,
      sslcert,
      sslkey
    }),
    KAFKA_BROKERS: broker.sasl,
    KAFKA_TLS_ENABLED: 'true',
    KAFKA_TLS_CA: trust,
    KAFKA_SASL_MECHANISM: login.mechanism,
    KAFKA_SASL_USERNAME: login.name,
    KAFKA_SASL_PASSWORD: login.password
  })
  const { users, sessions } = product.ports
  Object.assign(product.env, {
    RPC_USER_SVC_URL: `https://localhost:${users}`,
    RPC_SESSION_SVC_URL: `https://localhost:${sessions}`
  })
  for (const name of ['gateway', 'user-svc', 'session-svc'] as const) {
    const { cert, key } = files[name]
    const server = name === 'gateway' ? {} : { RPC_TLS_CLIENT_CERT: 'require' }
    product.settings.set(name, { RPC_OWN_TOKEN: '', RPC_TLS_CERT: cert, RPC_TLS_KEY: key, ...server })
  }
  const reloadRedis = () =>
    redis.client.sendCommand([
      ...['CONFIG', 'SET', 'tls-ca-cert-file', trust],
      ...['tls-cert-file', files.redis.cert, 'tls-key-file', files.redis.key]
    ])

  return {
    product,
    postgres,
    redis,
    ca,
    nextCa,
    trust,
    /** Trusts these CAs everywhere. */
    async trustOnly(...cas: TestCa[]): Promise<void> {
      writeFileSync(`${trust}.new`, cas.map((each) => readFileSync(each.ca, 'utf8')).join(''))
      renameSync(`${trust}.new`, trust)
      await Promise.all([postgres.replaceTrust(trust), reloadRedis()])
    },
    /** Replaces every certificate by one of another CA. */
    async replaceAll(by: TestCa): Promise<void> {
      issueAll(by)
      await Promise.all([postgres.replaceCertificate(by), reloadRedis(), broker.replaceCertificate(by)])
    }
  }
}
