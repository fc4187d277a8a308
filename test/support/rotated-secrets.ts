/** Two values of each secret that a rotation replaces, and the settings of its three steps: accept, present, remove. */

import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { createMailUser, createRoles, createSentinelUsers, startBrokerWithUsers } from './rotated-engines.ts'

/** The environment that a step changes, by service. */
export interface RotationStep {
  'session-svc'?: Record<string, string>
  'user-svc'?: Record<string, string>
  gateway?: Record<string, string>
  'log-sink'?: Record<string, string>
}

const token = () => randomBytes(32).toString('hex')
const pair = <T>(create: () => T): [T, T] => [create(), create()]
const key = (name: string) => `${name}:${randomBytes(32).toString('base64')}`
const keys = (): [string, string] => [key('a'), key('b')]

/** The secrets, and the settings of the steps in the order of docs/operate/rotate.md. */
export async function createRotation(t: Pick<Test, 'teardown'>) {
  const [gateway, userSvc, application, shared, operators, namedOperators] = [
    pair(token),
    pair(token),
    pair(token),
    pair(token),
    pair(token),
    pair(token)
  ]
  const [pepper, mailKey, deviceKey, eventKey] = [keys(), keys(), keys(), keys()]
  const database = await createRoles(t)
  const redis = await createSentinelUsers(t)
  const kafka = await startBrokerWithUsers(t)
  const mail = await createMailUser(t)

  const callersOf = (lists: [name: string, tokens: string[]][]) =>
    lists.flatMap(([name, tokens]) => tokens.map((each) => `${name.replace('*', each)}`)).join(',')
  /** What the services accept with these values of each secret. */
  function accepted(which: (values: [string, string]) => string[]) {
    const gateways: [string, string[]] = ['gateway:*', which(gateway)]
    return {
      sessions: callersOf([gateways, ['user-svc:*', which(userSvc)], ['shop:*:validation', which(application)]]),
      users: callersOf([gateways, ['operators:*', which(namedOperators)]])
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
    'session-svc': {
      RPC_CALLERS: old.sessions,
      ...sharedTokens(0),
      ...redis.settings('session-svc', 0),
      ...kafka.byCertificate
    },
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
      USER_SVC_POSTGRES_URL: database.urls[0],
      USER_SVC_POSTGRES_MIGRATION_URL: database.ownerUrls[0],
      MAIL_URL: mail.urls[0]
    },
    gateway: { RPC_OWN_TOKEN: gateway[0], RPC_TOKEN: '', ...redis.settings('gateway', 0), ...kafka.logins[0] },
    'log-sink': kafka.plainLogins[0]
  }
  const accept: RotationStep = {
    'session-svc': { RPC_CALLERS: both.sessions, ...sharedTokens(1, 0) },
    'user-svc': {
      RPC_CALLERS: both.users,
      ...sharedTokens(1, 0),
      ...adminTokens(1, 0),
      USER_SVC_PASSWORD_PEPPERS: pepper.join(','),
      MAIL_KEYS: mailKey.join(','),
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey.join(','),
      USER_SVC_POSTGRES_MIGRATION_URL: database.ownerUrls[1]
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
      USER_SVC_POSTGRES_URL: database.urls[1],
      MAIL_URL: mail.urls[1]
    },
    gateway: { RPC_OWN_TOKEN: gateway[1], ...redis.settings('gateway', 1), ...kafka.logins[1] },
    'log-sink': kafka.plainLogins[1]
  }
  const remove: RotationStep = {
    'session-svc': { RPC_CALLERS: fresh.sessions, ...sharedTokens(1), ...redis.settings('session-svc', 1) },
    'user-svc': {
      RPC_CALLERS: fresh.users,
      ...sharedTokens(1),
      ...adminTokens(1),
      MAIL_KEYS: mailKey[1],
      USER_SVC_BRUTE_FORCE_DEVICE_KEYS: deviceKey[1],
      USER_SVC_EVENT_KEYS: eventKey[1]
    }
  }
  return {
    steps: { start, accept, present, remove },
    application,
    shared,
    operators,
    namedOperators,
    eventKey,
    engines: [redis, database, kafka, mail],
    kafka,
    mail
  }
}
