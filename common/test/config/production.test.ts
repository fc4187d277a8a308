/** What production refuses: weak and repeated secrets, plaintext connections to other hosts, reflection that others reach. */

import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import type { ProductionConfig } from '#common/config/connections.ts'
import { password, secret, secretList } from '#common/config/keys.ts'
import { requireHiddenReflection, requireProduction } from '#common/config/production.ts'
import { keyProblem, sampleProblem } from '#common/config/secret-samples.ts'
import { url } from '#common/config/url-keys.ts'
import { messageOf } from './example.ts'

const production = { NODE_ENV: 'production' }
const hex = () => randomBytes(32).toString('hex')
const key = (bytes: Buffer = randomBytes(32)) => `a:${bytes.toString('base64')}`
const none: ProductionConfig = { security: { allowPlaintext: false } }
// Sections that a configuration lacks are not checked.
const schema = {
  rpc: { token: secret(''), adminToken: secret('') },
  redis: { url: url(['redis', 'rediss'], ''), sentinelPassword: password('') },
  kafka: { sasl: { password: password('') } },
  mail: { url: url(['smtp'], ''), keys: secretList('') },
  userSvc: {
    password: { peppers: secretList('') },
    eventKeys: secretList(''),
    postgres: { url: url(['postgres'], '') }
  }
}
const problem = (config: object, environment: NodeJS.ProcessEnv = production) =>
  messageOf(() => requireProduction({ ...none, ...config }, { schema, environment }))
const redis = (url: string, rest = {}) => ({
  redis: { topology: 'single', url, nodes: [], sentinelPassword: '', ...rest }
})
const kafka = (broker: string, tls = false, password = hex(), mechanism = 'plain') => {
  return { kafka: { enabled: true, brokers: [broker], tls: { enabled: tls }, sasl: { mechanism, password } } }
}
const postgres = (url: string) => ({ userSvc: { postgres: { url, migrationUrl: '' } } })
const mail = (url: string, requireTls = true) => ({ mail: { url, requireTls, keys: [] } })

t.test('samples are no secrets, and random values are none of them', async (t) => {
  const samples = [
    ...['abcdefghijklmnopqrstuvwxyz012345', 'thisisaverylongtokenforproduction', 'qwertyuiopasdfghjklzxcvbnm123456'],
    ...[
      'dev-dev-dev-token-dev-dev-dev-token',
      'ABCDEFGHIJABCDEFGHIJABCDEFGHIJABCDEFGHIJ',
      'change-me-0f3a9c1b7d5e2486a0c4e8f1'
    ],
    ...['x'.repeat(40), 'correct horse battery staple of production', '9f3a9f3a9f3a9f3a9f3a9f3a9f3a9f3a']
  ]
  for (const sample of samples) t.ok(sampleProblem(sample), sample)
  for (let run = 0; run < 500; run++) {
    t.notOk(sampleProblem(hex()), 'random hexadecimal digits')
    t.notOk(keyProblem(randomBytes(32).toString('base64')), 'random bytes')
  }
  for (const bytes of [
    Buffer.alloc(32),
    Buffer.alloc(32, 7),
    Buffer.from([...Array(32).keys()]),
    Buffer.from('x'.repeat(40))
  ]) {
    t.ok(keyProblem(bytes.toString('base64')))
  }
})

t.test('passwords of engines are set and no samples', async (t) => {
  for (const [url, expected] of [
    ['redis://127.0.0.1:6379', /^redis\.url: has no password/],
    ['redis://:hunter2@127.0.0.1', /^redis\.url: has a password of fewer than 12 characters/],
    ['redis://:passwordpassword@127.0.0.1', /^redis\.url: has a sample password/],
    [`redis://:${hex()}@127.0.0.1`, /^$/]
  ] as const) {
    t.match(problem(redis(url)), expected)
    t.equal(problem(redis(url), { NODE_ENV: 'development' }), '')
  }
  t.match(
    problem(postgres('postgres://postgres:postgres@127.0.0.1/a')),
    /^userSvc\.postgres\.url: has a password of fewer/
  )
  t.match(problem(postgres('postgres://auth@localhost/a')), /has no password/)
  t.match(problem(postgres('postgres://auth@127.0.0.1/a?ssl=0&sslcert=/a.pem&sslkey=/a.key')), /has no password/)
  t.equal(problem(postgres('postgres://auth@127.0.0.1/a?sslcert=/a.pem&sslkey=/a.key')), '')
  t.equal(problem(postgres('postgres://auth@/a?host=/run/postgresql')), '')
  t.equal(problem(postgres(`postgres://auth:${hex()}@127.0.0.1/a`)), '')
  t.match(problem(kafka('127.0.0.1:9092', false, 'hunter2')), /^kafka\.sasl\.password/)
  t.match(problem(redis(`redis://:${hex()}@127.0.0.1`, { sentinelPassword: 'hunter2' })), /^redis\.sentinelPassword/)
  t.notMatch(problem({ ...redis('redis://:hunter2@127.0.0.1'), ...kafka('h:1', false, 'hunter2') }), /hunter2/)
})

t.test('Kafka and Sentinels on another host need a login, unless plaintext is allowed', async (t) => {
  const url = `rediss://:${hex()}@127.0.0.1`
  const sentinels = (nodes: string[], rest = {}) => redis(url, { topology: 'sentinel', nodes, ...rest })
  t.match(
    problem(kafka('kafka:9092', true, '', 'none')),
    /^kafka\.sasl\.mechanism: is none for brokers on another host/
  )
  t.match(problem(kafka('kafka:9092', true, '')), /^kafka\.sasl\.password: has no password/)
  t.match(problem(sentinels(['127.0.0.1:1', 'sentinel:1'])), /^redis\.sentinelPassword: is missing for Sentinels/)
  const anonymous = kafka('kafka:9092', true, '', 'none')
  const certificate = { kafka: { ...anonymous.kafka, tls: { enabled: true, cert: '/kafka.crt' } } }
  for (const config of [
    certificate,
    kafka('127.0.0.1:9092', false, '', 'none'),
    { kafka: { ...anonymous.kafka, enabled: false } },
    { ...anonymous, ...sentinels(['sentinel:1']), security: { allowPlaintext: true } },
    sentinels(['localhost:1']),
    sentinels(['sentinel:1'], { sentinelPassword: hex() }),
    sentinels(['sentinel:1'], { tls: { cert: '/redis.crt' } })
  ]) {
    t.equal(problem(config), '')
  }
})

t.test('keys are random bytes, and no secret has two purposes', async (t) => {
  const peppers = (...keys: string[]) => ({
    userSvc: { postgres: { url: '', migrationUrl: '' }, password: { peppers: keys } }
  })
  t.match(problem(peppers(key(Buffer.alloc(32)))), /^userSvc\.password\.peppers: the key a is no random key/)
  t.equal(problem(peppers(key())), '')
  const shared = key()
  t.match(problem(peppers(shared, shared.replace('a:', 'b:'))), /has the secret of userSvc\.password\.peppers/)
  t.match(
    problem({ ...peppers(shared), mail: { url: '', requireTls: true, keys: [shared] } }),
    /^mail\.keys|peppers: has the/
  )
  const token = hex()
  t.match(problem({ rpc: { token, adminToken: token } }), /^rpc\.adminToken: has the secret of rpc\.token/)
  t.match(
    problem({ rpc: { token }, ...redis(`redis://:${token}@127.0.0.1`) }),
    /^redis\.url: has the secret of rpc\.token/
  )
})

t.test('the private key of a certificate has one purpose', async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const pem = (each: KeyObject) => each.export({ type: 'pkcs8', format: 'pem' }) as string
  const folder = t.testdir({ 'a.pem': pem(privateKey), 'b.pem': pem(privateKey), 'c.pem': pem(other) })
  const file = (name: string) => ({ key: join(folder, name) })
  const eventKey = Buffer.from(privateKey.export({ format: 'jwk' }).d as string, 'base64url').toString('base64')
  const events = { userSvc: { postgres: { url: '', migrationUrl: '' }, eventKeys: [`a:${eventKey}`] } }
  t.match(problem({ ...events, rpc: { tls: file('a.pem') } }), /^rpc\.tls\.key: has the secret of userSvc\.eventKeys/)
  const gateway = { gateway: { tls: file('a.pem') } }
  t.match(problem({ ...gateway, rpc: { tls: file('b.pem') } }), /^rpc\.tls\.key: has the secret of gateway\.tls\.key/)
  const url = `postgres://auth@127.0.0.1/a?sslcert=cert.pem&sslkey=${join(folder, 'b.pem')}`
  t.match(problem({ ...gateway, ...postgres(url) }), /^userSvc\.postgres\.url: has the secret of gateway\.tls\.key/)
  const client = { rpc: { tls: file('c.pem') }, ...redis(`redis://:${hex()}@127.0.0.1`, { tls: file('c.pem') }) }
  t.equal(problem({ ...gateway, ...client }), '', 'a service may have one certificate for all servers')
  t.equal(problem({ rpc: { tls: file('none.pem') } }), '', 'TLS reports a missing file')
})

t.test('connections to other hosts need TLS, unless plaintext is allowed', async (t) => {
  const password = hex()
  const plaintext: Record<string, object> = {
    'redis.url': redis(`redis://:${password}@10.0.0.1`),
    'kafka.brokers': kafka('kafka.example.org:9092'),
    'rpc.userSvcUrl': { rpc: { userSvcUrl: ['http://127.0.0.1:1', 'http://user-svc:1'] } },
    'rpc.sessionSvcUrl': { rpc: { sessionSvcUrl: ['http://[fd00::1]:1'] } },
    'userSvc.postgres.url': postgres(`postgres://a:${password}@db.example.org/a?sslmode=require`),
    'mail.url': mail('smtp://mail.example.org', false)
  }
  for (const [path, config] of Object.entries(plaintext)) {
    t.match(
      problem(config),
      new RegExp(`^${path.replaceAll('.', '\\.')}: is a plaintext connection to another host`),
      path
    )
    t.equal(problem({ ...config, security: { allowPlaintext: true } }), '', path)
  }
  for (const parameters of ['ssl=false', 'ssl=0', 'sslmode=disable', 'sslmode=no-verify']) {
    const url = `postgres://a:${password}@db.example.org/a?sslrootcert=/ca.pem&${parameters}`
    t.match(problem(postgres(url)), /^userSvc\.postgres\.url: is a plaintext/, parameters)
  }
  for (const empty of ['sslmode=verify-ca&sslrootcert=', 'sslmode=require&sslrootcert=', 'sslrootcert=']) {
    const url = `postgres://a:${password}@db.example.org/a?${empty}`
    t.match(problem(postgres(url)), /^userSvc\.postgres\.url: is a plaintext/, empty)
  }
  const nodes = { topology: 'cluster', nodes: ['127.0.0.1:1', '10.0.0.1:1'] }
  t.match(problem(redis(`redis://:${password}@127.0.0.1`, nodes)), /^redis\.url: is a plaintext/)
  const encrypted = [
    redis(`rediss://:${password}@10.0.0.1`),
    redis(`redis://:${password}@[::1]:6379`),
    kafka('kafka.example.org:9092', true),
    kafka('127.0.0.1:9092'),
    { rpc: { userSvcUrl: ['https://user-svc:1'], sessionSvcUrl: ['http://localhost:1'] } },
    postgres(`postgres://a:${password}@db.example.org/a?sslmode=verify-full`),
    postgres(`postgres://a:${password}@db.example.org/a?sslrootcert=/ca.pem`),
    mail('smtp://mail.example.org'),
    mail('smtp://127.0.0.1', false),
    mail('file:.data/mail', false)
  ]
  for (const config of encrypted) t.equal(problem(config), '')
})

t.test('reflection is not on an address that other machines reach', async (t) => {
  const reflection = (host: string, environment: NodeJS.ProcessEnv) =>
    messageOf(() => requireHiddenReflection(true, host, environment))
  t.match(reflection('0.0.0.0', production), /^rpc\.reflection: got true on 0\.0\.0\.0/)
  t.equal(reflection('127.0.0.1', production), '')
  t.equal(reflection('0.0.0.0', {}), '')
})
