/** Every secret is replaced under traffic, in the order of docs/operate/rotate.md: no request is lost, and no session ends. */

import { join } from 'node:path'
import { createClient } from '@connectrpc/connect'
import t from 'tap'
import { environmentName } from '#common/config/load.ts'
import { createKafka } from '#common/kafka/client.ts'
import { until } from '#common/testing/until.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { authenticEvent } from '../docs/samples/verify-event.ts'
import { publicEventKey } from '../user-svc/outbox/event-signature.ts'
import { collectedLines } from './support/log-stack.ts'
import { recordPrivateKeys } from './support/private-keys.ts'
import { createProduct, longBudgets, newAddress, password, type ServiceName } from './support/product.ts'
import { createRotation, type RotationStep } from './support/rotated-secrets.ts'
import { secretKeys } from './support/secret-names.ts'
import { keepCalling, transportTo, withHealth } from './support/steady-calls.ts'
import { startTraffic, summary } from './support/traffic.ts'

t.setTimeout(600_000)

const rotation = await createRotation(t)
const { steps, engines, kafka, mail } = rotation
const services = ['session-svc', 'user-svc', 'gateway'] as const
const privateKeysOfStart = recordPrivateKeys(Object.values(steps.start) as Record<string, string>[])
const many = '100000'
const shared = {
  ...longBudgets,
  SHUTDOWN_DRAIN_DELAY: '1s',
  LOG_STDOUT: 'info',
  // The services get their own from the steps.
  RPC_CALLERS: '',
  // Of the steps; otherwise each product creates a database.
  USER_SVC_POSTGRES_URL: String(steps.start['user-svc']?.USER_SVC_POSTGRES_URL),
  // The gateway calls Redis for each request.
  GATEWAY_RATE_LIMIT_ENABLED: 'true',
  GATEWAY_RATE_LIMIT_MAX: many,
  GATEWAY_RATE_LIMIT_CREDENTIALS_MAX: many,
  GATEWAY_RATE_LIMIT_REGISTRATIONS_MAX: many,
  GATEWAY_RATE_LIMIT_EMAILS_MAX: many,
  MAIL_REQUIRE_TLS: 'false',
  MAIL_FROM: 'auth@example.org',
  MAIL_LINKS_VERIFY: 'https://app.example.org/confirm#token={token}',
  MAIL_LINKS_RESET: 'https://app.example.org/reset#token={token}'
}
const [first, second] = [await createProduct(t, shared), await createProduct(t, shared)]
const instances = [first, second] as const
const urlsOf = (port: 'users' | 'sessions') => instances.map(({ ports }) => `http://127.0.0.1:${ports[port]}`)

function apply(step: RotationStep): void {
  for (const [name, changed] of Object.entries(step) as [ServiceName, Record<string, string>][]) {
    for (const { settings } of instances) settings.set(name, { ...settings.get(name), ...changed })
  }
}

for (const { env } of instances) {
  Object.assign(env, { RPC_USER_SVC_URL: urlsOf('users').join(), RPC_SESSION_SVC_URL: urlsOf('sessions').join() })
}

/** The load balancer: requests go to a gateway that is not restarted at the moment. */
let serving: (typeof instances)[number] = first
const call: typeof first.call = (...request) => serving.call(...request)

/** Restarts the services that a step changes, one instance after the other. */
async function restart(step: RotationStep): Promise<void> {
  apply(step)
  const changed = Object.keys(step) as ServiceName[]
  for (const product of instances) {
    serving = product === first ? second : first
    // One log-sink runs.
    const names = changed.filter((name) => name !== 'log-sink' || product === first)
    await Promise.all(
      names.map(async (name) => {
        t.equal(await product.stop(name), 0, `${name} ends by itself`)
        product.start(name)
        await product.untilReady(name)
      })
    )
  }
}

/** The token in the newest email of a reset. */
async function resetTokenOf(email: string): Promise<string> {
  t.equal((await call('POST', '/password/reset', { json: { email } })).status, 202)
  await until('the email has arrived', () => mail.textsTo(email).some((text) => text.includes('/reset#')), 30_000)
  const tokens = mail.textsTo(email).flatMap((text) => /\/reset#token=([\w%-]+)/.exec(text)?.[1] ?? [])
  return decodeURIComponent(String(tokens.at(-1)))
}

/** A login, with a device token or without. @returns its status and the device token that the response has */
async function logIn(email: string, secret: string, device = '') {
  const headers = { 'content-type': 'application/json', ...(device && { 'x-device-token': device }) }
  const body = JSON.stringify({ email, password: secret })
  const response = await fetch(`http://127.0.0.1:${serving.ports.rest}/auth`, { method: 'POST', headers, body })
  await response.text()
  return { status: response.status, device: response.headers.get('x-device-token') ?? '' }
}

/** After the guesses of the network are used up, only a valid device token admits a login. */
async function requireKnownDevice(email: string, device: string, what: string): Promise<void> {
  for (let count = 0; count < 5; count += 1) t.equal((await logIn(email, 'wrong password')).status, 401)
  t.equal((await logIn(email, password)).status, 401, `${what}: without its token`)
  t.equal((await logIn(email, password, device)).status, 200, what)
}

/** The names of the keys that have signed the events so far; each signature is verified. */
async function readEventKeys() {
  const names = new Set<string>()
  const consumer = createKafka(kafka.admin, 'test').consumer({ groupId: 'rotation' })
  t.teardown(() => consumer.disconnect())
  await consumer.connect()
  await consumer.subscribe({ topic: 'account-events', fromBeginning: true })
  const publicKeys = rotation.eventKey.map(publicEventKey)
  await consumer.run({
    eachMessage: async ({ message: { key, value, headers = {} } }) => {
      t.ok(authenticEvent({ key, value, headers }, publicKeys), 'an event has a valid signature')
      names.add(String(headers.signature).split(':')[0] as string)
    }
  })
  return names
}

t.test('the steps change every secret of the schemas', async (t) => {
  const settings = Object.values(steps).flatMap((step) => Object.values(step) as Record<string, string>[])
  const values = (name: string) => new Set(settings.map((each) => each[name]).filter((value) => value !== undefined))
  const unchanged = secretKeys().filter((path) => values(environmentName(path)).size < 2)
  t.same(unchanged, [], 'no key keeps its value')
  t.same([...privateKeysOfStart.paths], ['kafka.tls.key'], 'test/tls-everywhere.test.ts replaces the others')
})

t.test('the rotation of every secret loses no request and ends no session', async (t) => {
  apply(steps.start)
  first.start('log-sink')
  for (const name of services) {
    for (const product of instances) product.start(name)
    for (const product of instances) await product.untilReady(name)
  }
  await first.untilReady('log-sink')
  const [kept, forgetful, later] = [await first.register(), await first.register(), await first.register()]
  const { device } = await logIn(later.email, password)
  t.not(device, '', 'a login has a device token')
  const oldToken = await resetTokenOf(forgetful.email)

  const validating = (credential: string) => {
    const transport = transportTo('session-svc', urlsOf('sessions'), credential)
    const client = createClient(SessionService, transport)
    return withHealth(transport, async () => {
      t.equal((await client.validateSession({ token: kept.token })).result.case, 'session')
    })
  }
  const administering = (credential: string) => {
    const transport = transportTo('user-svc', urlsOf('users'), credential)
    const client = createClient(AdminService, transport)
    return withHealth(transport, () => client.getUser({ key: { case: 'email', value: kept.email } }))
  }
  const traffic = await startTraffic(t, call, 8)
  const application = keepCalling(t, rotation.application[0], validating)
  const otherCaller = keepCalling(t, rotation.shared[0], validating)
  const operator = keepCalling(t, rotation.operators[0], administering)
  const namedOperator = keepCalling(t, rotation.namedOperators[0], administering)

  await Promise.all(engines.map((engine) => engine.add()))
  await restart(steps.accept)
  application.change(rotation.application[1])
  otherCaller.change(rotation.shared[1])
  operator.change(rotation.operators[1])
  namedOperator.change(rotation.namedOperators[1])
  await restart(steps.present)
  const json = { token: oldToken, newPassword: `${password} again` }
  t.equal((await call('PUT', '/password/reset', { json })).status, 204, 'a token under the old mail key is valid')
  await requireKnownDevice(later.email, device, 'a device token under the old key is valid')
  const renewed = (await logIn(later.email, password)).device
  await restart(steps.remove)
  await Promise.all(engines.map((engine) => engine.remove()))
  t.same(privateKeysOfStart.unchanged(), [], 'no private key is as before')
  const linesBefore = collectedLines(join(first.dataDir, 'logs')).length
  // With the old values gone everywhere.
  const login = { json: { email: kept.email, password } }
  t.equal((await call('POST', '/auth', login)).status, 200, 'a password under the old pepper is valid')
  await requireKnownDevice(later.email, renewed, 'a device token under the new key is valid')
  t.not(await resetTokenOf(later.email), 'undefined', 'an email arrives with the new password of the mail server')
  await traffic.untilServed('POST /reg', 'POST /auth', 'GET /session', 'DELETE /delete')

  const outcomes = await traffic.end()
  t.comment(summary(outcomes))
  const failed = outcomes.filter(({ status }) => status < 200 || status > 299)
  t.same(failed, [], `each of ${outcomes.length} requests succeeded`)
  await Promise.all([application.end(), otherCaller.end(), operator.end(), namedOperator.end()])
  t.equal((await call('GET', '/session', { token: kept.token })).status, 200, 'the session of before is valid')
  const signers = await readEventKeys()
  await until('events of both keys are read', () => signers.size === 2, 30_000)
  for (const name of services) {
    const ofService = () =>
      collectedLines(join(first.dataDir, 'logs'))
        .slice(linesBefore)
        .some((line) => line.service === name)
    await until(`log-sink collects lines of ${name}`, ofService, 30_000)
  }
  t.same(mail.rejected, [], 'the mail server has rejected no password')
  for (const { output, ops } of instances) {
    t.notMatch(
      output(),
      /rejects the credential|denies this service|authz_fail|reject the user or the password|rejects the client certificate|WRONGPASS|NOAUTH/
    )
    for (const name of services)
      t.match(await (await ops(name, '/readyz?verbose')).text(), /^\[\+\] kafka/m, 'the log reaches Kafka')
  }

  const old = createClient(SessionService, transportTo('session-svc', urlsOf('sessions'), rotation.application[0]))
  await t.rejects(old.validateSession({ token: newAddress() }), { message: /rejects the credential/ })
})
