/** Engines for a rotation: each has `add`, after which it accepts a second login, and `remove`, which takes the first one from it. */

import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import type { Test } from 'tap'
import { createTestCa, replaceFiles } from '#common/testing/certificates.ts'
import { startRedisWithSentinels } from '#common/testing/redis.ts'
import { createTestDatabase } from '#common/testing/service.ts'
import { startMailServer } from '../../user-svc/test/mail/mail-server.ts'
import { startSecureBroker } from './secure-broker.ts'

type Teardown = Pick<Test, 'teardown'>
const passwordPair = () => [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')] as const

/** An owner of the database, who migrates; a role of user-svc, and a second role that acts as that one. */
export async function createRoles(t: Teardown) {
  const url = await createTestDatabase(t)
  const admin = postgres(url, { max: 1, onnotice: () => {} })
  t.teardown(() => admin.end())
  const suffix = randomBytes(4).toString('hex')
  const names = [`first_${suffix}`, `second_${suffix}`] as const
  const owner = `owner_${suffix}`
  const [passwords, ownerPasswords] = [passwordPair(), passwordPair()]
  const [database] = await admin`select current_database() as name`
  await admin.unsafe(`create role ${owner} login password '${ownerPasswords[0]}'`)
  await admin.unsafe(`create role ${names[0]} login password '${passwords[0]}'`)
  await admin.unsafe(`alter database ${database?.name} owner to ${owner}`)
  const urlOf = (username: string, password: string) => Object.assign(new URL(url), { username, password }).href
  return {
    urls: [urlOf(names[0], passwords[0]), urlOf(names[1], passwords[1])] as const,
    ownerUrls: [urlOf(owner, ownerPasswords[0]), urlOf(owner, ownerPasswords[1])] as const,
    async add(): Promise<void> {
      await admin.unsafe(`create role ${names[1]} login password '${passwords[1]}' in role ${names[0]}`)
      await admin.unsafe(`alter role ${names[1]} set role = ${names[0]}`)
      await admin.unsafe(`alter role ${owner} password '${ownerPasswords[1]}'`)
      await admin.unsafe("delete from row_keys where name = 'guesses'")
    },
    remove: async () => void (await admin.unsafe(`alter role ${names[0]} nologin`))
  }
}

/** A user of Redis for each service, and a password of the Sentinels. */
export async function createSentinelUsers(t: Teardown) {
  const { master, replica, sentinels } = await startRedisWithSentinels(t)
  const users = { gateway: passwordPair(), 'session-svc': passwordPair() }
  const ofSentinels = passwordPair()
  const setUsers = (...rules: ((passwords: readonly [string, string]) => string[])[]) =>
    Promise.all(
      Object.entries(users).flatMap(([name, passwords]) =>
        [master, replica].map(({ client }) =>
          client.aclSetUser(
            name,
            rules.flatMap((rule) => rule(passwords))
          )
        )
      )
    )
  const setSentinels = (...commands: string[][]) =>
    Promise.all(
      sentinels.map(async ({ client }) => {
        for (const command of commands) await client.sendCommand(command)
      })
    )
  const acl = (...rules: string[]) => ['ACL', 'SETUSER', 'default', ...rules]
  const presented = (password: string) => ['SENTINEL', 'CONFIG', 'SET', 'sentinel-pass', password]
  await setUsers(([old]) => ['on', `>${old}`, '~*', '&*', '+@all'])
  await setSentinels(presented(ofSentinels[0]), acl('resetpass', `>${ofSentinels[0]}`))
  return {
    settings: (name: keyof typeof users, index: 0 | 1) => ({
      REDIS_TOPOLOGY: 'sentinel',
      REDIS_NODES: sentinels.map(({ address }) => address).join(),
      REDIS_SENTINEL_NAME: 'main',
      REDIS_SENTINEL_PASSWORD: ofSentinels[index],
      REDIS_URL: `redis://${name}:${users[name][index]}@${master.address}`
    }),
    async add(): Promise<void> {
      await setUsers(([, fresh]) => [`>${fresh}`])
      await setSentinels(acl(`>${ofSentinels[1]}`), presented(ofSentinels[1]))
    },
    async remove(): Promise<void> {
      await setUsers(([old]) => [`<${old}`])
      await setSentinels(acl(`<${ofSentinels[0]}`))
    }
  }
}

/** A broker by TLS that accepts two users, one after the other, two users of PLAIN, and a client certificate. */
export async function startBrokerWithUsers(t: Teardown) {
  const ca = createTestCa(t)
  const plain = passwordPair()
  const broker = await startSecureBroker(t, ca, { plain0: plain[0], plain1: plain[1] })
  await broker.createTopics('logs', 'account-events')
  const passwords = passwordPair()
  const mechanism = 'scram-sha-512' as const
  const userOf = (index: 0 | 1) => ({ name: `user-${index}`, mechanism, password: passwords[index] })
  await broker.alterUser(userOf(0))
  const trusted = { KAFKA_TLS_ENABLED: 'true', KAFKA_TLS_CA: ca.ca }
  const loginOf = (mechanism: string, username: string, password: string) => ({
    ...trusted,
    KAFKA_BROKERS: broker.sasl,
    KAFKA_SASL_MECHANISM: mechanism,
    KAFKA_SASL_USERNAME: username,
    KAFKA_SASL_PASSWORD: password
  })
  const files = { cert: ca.file('rotated.pem'), key: ca.file('rotated.key') }
  const renew = () => replaceFiles(ca.issue('session-svc'), files)
  renew()
  return {
    admin: broker.admin,
    logins: [loginOf(mechanism, 'user-0', passwords[0]), loginOf(mechanism, 'user-1', passwords[1])] as const,
    plainLogins: [loginOf('plain', 'plain0', plain[0]), loginOf('plain', 'plain1', plain[1])] as const,
    byCertificate: {
      ...trusted,
      KAFKA_BROKERS: broker.certificate,
      KAFKA_TLS_CERT: files.cert,
      KAFKA_TLS_KEY: files.key
    },
    async add(): Promise<void> {
      await broker.alterUser(userOf(1))
      renew()
    },
    remove: () => broker.alterUser({ name: 'user-0', mechanism })
  }
}

/** A mail server that accepts a second password after `add`, and no longer the first one after `remove`. */
export async function createMailUser(t: Teardown) {
  const passwords = passwordPair()
  const accepted = new Set<unknown>([passwords[0]])
  const rejected: unknown[] = []
  const { port, received } = await startMailServer(t, {
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    authOptional: false,
    onAuth({ username, password }, _session, done) {
      if (accepted.has(password)) return done(null, { user: username })
      rejected.push(password)
      done(new Error('wrong password'))
    }
  })
  const urlOf = (password: string) => `smtp://rotated:${password}@127.0.0.1:${port}`
  return {
    urls: [urlOf(passwords[0]), urlOf(passwords[1])] as const,
    rejected,
    /** The emails to an address, the oldest first. */
    textsTo: (address: string) =>
      received
        .filter(({ to }) => to.includes(address))
        .map(({ content }) => content.replaceAll('=\r\n', '').replaceAll('=3D', '=')),
    add: async () => void accepted.add(passwords[1]),
    remove: async () => void accepted.delete(passwords[0])
  }
}
