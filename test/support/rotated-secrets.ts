/** Two values of each secret that a rotation replaces, and the settings of its three steps: accept, present, remove. */

import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { createClient } from 'redis'
import type { Test } from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { createTestDatabase, engineAddress } from '#common/testing/service.ts'
import { startSecureBroker } from './secure-broker.ts'

/** The environment that a step changes, by service. */
export interface RotationStep {
  'session-svc'?: Record<string, string>
  'user-svc'?: Record<string, string>
  gateway?: Record<string, string>
}

const token = () => randomBytes(32).toString('hex')
const pair = <T>(create: () => T): [T, T] => [create(), create()]
const key = (name: string) => `${name}:${randomBytes(32).toString('base64')}`
const keys = (): [string, string] => [key('a'), key('b')]

/** The secrets, and the settings of the steps in the order of docs/operate/rotate.md. */
export async function createRotation(t: Pick<Test, 'teardown'>) {
  const [gateway, userSvc, application, shared, operators] = [
    pair(token),
    pair(token),
    pair(token),
    pair(token),
    pair(token)
  ]
  const [pepper, mailKey, deviceKey, eventKey] = [keys(), keys(), keys(), keys()]
  const database = await createRoles(t)
  const redis = await createRedisUser(t)
  const kafka = await createKafkaUsers(t)

  const callersOf = (lists: [name: string, tokens: string[]][]) =>
    lists.flatMap(([name, tokens]) => tokens.map((each) => `${name.replace('*', each)}`)).join(',')
  /** What the services accept with these values of each secret. */
  function accepted(which: (values: [string, string]) => string[]) {
    const gateways: [string, string[]] = ['gateway:*', which(gateway)]
    return {
      sessions: callersOf([gateways, ['user-svc:*', which(userSvc)], ['shop:*:validation', which(application)]]),
      users: callersOf([gateways])
    }
  }
  const [old, both, fresh] = [
    accepted(([first]) => [first]),
    accepted((values) => values),
    accepted(([, second]) => [second])
  ]
  const sharedTokens = (now: number, previous?: number) => ({
    RPC_TOKEN: shared[now] as string,
    RPC_PREVIOUS_TOKEN: previous === undefined ? '' : (shared[previous] as string)
  })
  const adminTokens = (now: number, previous?: number) => ({
    RPC_ADMIN_TOKEN: operators[now] as string,
    RPC_PREVIOUS_ADMIN_TOKEN: previous === undefined ? '' : (operators[previous] as string)
  })

  const start: RotationStep = {
    'session-svc': { RPC_CALLERS: old.sessions, ...sharedTokens(0), REDIS_URL: redis.urls[0], ...kafka.logins[0] },
    'user-svc': {
      ...kafka.logins[0],
      RPC_CALLERS: old.users,
      RPC_OWN_TOKEN: userSvc[0],
      ...sharedTokens(0),
      ...adminTokens(0),
      USER_SVC_PASSWORD_PEPPERS: pepper[0],
      MAIL_KEYS: mailKey[0],
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey[0],
      USER_SVC_EVENT_KEYS: eventKey[0],
      USER_SVC_POSTGRES_URL: database.urls[0]
    },
    gateway: { RPC_OWN_TOKEN: gateway[0], RPC_TOKEN: '', REDIS_URL: redis.urls[0], ...kafka.logins[0] }
  }
  const accept: RotationStep = {
    'session-svc': { RPC_CALLERS: both.sessions, ...sharedTokens(1, 0) },
    'user-svc': {
      RPC_CALLERS: both.users,
      ...sharedTokens(1, 0),
      ...adminTokens(1, 0),
      USER_SVC_PASSWORD_PEPPERS: pepper.join(','),
      MAIL_KEYS: mailKey.join(','),
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey.join(',')
    }
  }
  const present: RotationStep = {
    'user-svc': {
      ...kafka.logins[1],
      RPC_OWN_TOKEN: userSvc[1],
      USER_SVC_PASSWORD_PEPPERS: pepper.toReversed().join(','),
      MAIL_KEYS: mailKey.toReversed().join(','),
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey.toReversed().join(','),
      USER_SVC_EVENT_KEYS: eventKey.toReversed().join(','),
      USER_SVC_POSTGRES_URL: database.urls[1]
    },
    gateway: { RPC_OWN_TOKEN: gateway[1], REDIS_URL: redis.urls[1], ...kafka.logins[1] }
  }
  const remove: RotationStep = {
    'session-svc': { RPC_CALLERS: fresh.sessions, ...sharedTokens(1), REDIS_URL: redis.urls[1], ...kafka.logins[1] },
    'user-svc': {
      RPC_CALLERS: fresh.users,
      ...sharedTokens(1),
      ...adminTokens(1),
      MAIL_KEYS: mailKey[1],
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey[1],
      USER_SVC_EVENT_KEYS: eventKey[1]
    }
  }
  return { steps: { start, accept, present, remove }, application, shared, operators, database, redis, kafka }
}

/** A role that owns the database, and a second role that acts as the first one. */
async function createRoles(t: Pick<Test, 'teardown'>) {
  const url = await createTestDatabase(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const suffix = randomBytes(4).toString('hex')
  const names = [`first_${suffix}`, `second_${suffix}`] as const
  const passwords = pair(token)
  const [database] = await admin`select current_database() as name`
  await admin.unsafe(`create role ${names[0]} login password '${passwords[0]}'`)
  await admin.unsafe(`alter database ${database?.name} owner to ${names[0]}`)
  const urlOf = (index: 0 | 1) =>
    Object.assign(new URL(url), { username: names[index], password: passwords[index] }).href
  return {
    urls: [urlOf(0), urlOf(1)] as const,
    async add(): Promise<void> {
      await admin.unsafe(`create role ${names[1]} login password '${passwords[1]}' in role ${names[0]}`)
      await admin.unsafe(`alter role ${names[1]} set role = ${names[0]}`)
    },
    remove: async () => void (await admin.unsafe(`alter role ${names[0]} nologin`))
  }
}

/** A user of the Redis under test, which accepts several passwords. */
async function createRedisUser(t: Pick<Test, 'teardown'>) {
  const url = engineAddress('TEST_REDIS_URL')
  const admin = createClient({ url })
  admin.on('error', () => {})
  await admin.connect()
  const name = `rotation-${randomBytes(4).toString('hex')}`
  t.teardown(async () => {
    await admin.aclDelUser(name)
    admin.destroy()
  })
  const passwords = pair(token)
  await admin.aclSetUser(name, ['on', `>${passwords[0]}`, '~*', '&*', '+@all'])
  const urlOf = (password: string) => Object.assign(new URL(url), { username: name, password }).href
  return {
    urls: [urlOf(passwords[0]), urlOf(passwords[1])] as const,
    add: async () => void (await admin.aclSetUser(name, [`>${passwords[1]}`])),
    remove: async () => void (await admin.aclSetUser(name, [`<${passwords[0]}`]))
  }
}

/** A broker that accepts two users, one after the other, by TLS. */
async function createKafkaUsers(t: Pick<Test, 'teardown'>) {
  const ca = createTestCa(t)
  const broker = await startSecureBroker(t, ca, {})
  await broker.createTopics('logs', 'account-events')
  const users = pair(token).map((password, index) => ({
    name: `user-${index}`,
    mechanism: 'scram-sha-512' as const,
    password
  }))
  const [first, second] = users as [(typeof users)[0], (typeof users)[0]]
  await broker.alterUser(first)
  const loginOf = ({ name, mechanism, password }: typeof first) => ({
    KAFKA_BROKERS: broker.sasl,
    KAFKA_TLS_ENABLED: 'true',
    KAFKA_TLS_CA: ca.ca,
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: name,
    KAFKA_SASL_PASSWORD: password
  })
  return {
    logins: [loginOf(first), loginOf(second)] as const,
    add: () => broker.alterUser(second),
    remove: () => broker.alterUser({ name: first.name, mechanism: first.mechanism })
  }
}
