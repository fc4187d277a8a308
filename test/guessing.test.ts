/** Guesses at a password from many networks over two gateways: few are compared, and the owner's device still logs in. */

import { randomBytes } from 'node:crypto'
import { createClient } from 'redis'
import t, { type Test } from 'tap'
import { clientRange, newClient, postFrom, type Response } from './support/client-networks.ts'
import { startOwnRedis } from './support/own-engine.ts'
import { createProduct, newAddress, password } from './support/product.ts'

const redisServer = await startOwnRedis(t)
const redis = await createClient({ url: redisServer.url }).connect()
t.teardown(() => redis.destroy())
const limits = {
  REDIS_URL: redisServer.url,
  GATEWAY_RATE_LIMIT_ENABLED: 'true',
  USER_SVC_BRUTE_FORCE_DEVICE_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  LOG_STDOUT: 'info'
}
const one = await createProduct(t, limits)
const two = await createProduct(t, { ...limits, ...shared(one.env) })
await one.startAll()
two.start('gateway')
await two.untilReady('gateway')
const gateways = [one.ports.rest, two.ports.rest] as const

function shared({ USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_USER_SVC_URL, RPC_SESSION_SVC_URL }: Record<string, string>) {
  return { USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_USER_SVC_URL, RPC_SESSION_SVC_URL } as Record<string, string>
}

/** Sends credentials from a client address to a gateway. */
function send(path: string, body: object, client: string, headers: Record<string, string> = {}, gateway = 0) {
  return postFrom(client, { port: gateways[gateway % 2] as number, path, body, headers })
}

async function newAccount() {
  const email = newAddress()
  const { status, headers } = await send('/reg', { email, password }, newClient())
  t.equal(status, 201)
  return { email, device: String(headers['x-device-token']) }
}

/** Sends wrong passwords from networks in turn, some at once, over both gateways. @returns the responses */
async function guess(email: string, networks: string[], count: number): Promise<Response[]> {
  const responses: Response[] = []
  let next = 0
  async function guessOn(): Promise<void> {
    for (let index = next++; index < count; index = next++) {
      const wrong = { email, password: `wrong password ${index}` }
      const network = networks[index % networks.length] as string
      const response = await send('/auth', wrong, network, {}, index)
      responses.push(response)
    }
  }
  await Promise.all(Array.from({ length: 8 }, guessOn))
  return responses
}

/** The series of a counter of user-svc, by the value of its label. */
async function counts(name: string): Promise<Record<string, number>> {
  const metrics = await (await one.ops('user-svc', '/metrics')).text()
  const series = metrics.matchAll(new RegExp(`^${name}\\{\\w+="(\\w+)"\\} (\\d+)$`, 'gm'))
  return Object.fromEntries([...series].map(([, label, value]) => [label, Number(value)]))
}

/** Sends 150 wrong passwords while Redis loses all data. @returns the responses, after a check that few passwords were compared */
async function attack(t: Test, email: string, networks: string[]): Promise<Response[]> {
  const compared = async () => Object.values(await counts('auth_guesses_checked_total')).reduce((a, b) => a + b)
  const before = await compared()
  const responses: Response[] = []
  for (let part = 0; part < 3; part += 1) {
    responses.push(...(await guess(email, networks, 50)))
    await redis.flushAll()
  }
  const count = (await compared()) - before
  t.ok(count >= 60 && count <= 100, `${count} of ${responses.length} were compared`)
  return responses
}

/** What a client can compare of a response: all but the time, the trace and its own quota. */
function visible({ status, headers, body }: Response) {
  const own = ['date', 'traceparent', 'x-request-id', 'ratelimit']
  const others = Object.entries(headers).filter(([name]) => !own.includes(name))
  const trace = String(headers['x-request-id'])
  return JSON.stringify([status, others, body.replaceAll(trace, '')])
}

t.test(
  'of 150 wrong passwords from 50 networks at most 100 are compared, and the owner logs in, also when Redis loses its data',
  async (t) => {
    const { email, device } = await newAccount()
    const networks = Array.from({ length: 50 }, newClient)
    await attack(t, email, networks)
    const fresh = await send('/auth', { email, password }, newClient())
    t.equal(fresh.status, 200, 'from another network, without a device token')
    const known = await attack(t, email, networks)

    const right = await send('/auth', { email, password }, networks[0] as string)
    const wrong = await send('/auth', { email, password: 'wrong password' }, networks[0] as string)
    t.equal(right.status, 401, 'a refused guess is not compared')
    t.equal(visible(right), visible(wrong))

    const unknown = await attack(t, newAddress(), Array.from({ length: 50 }, newClient))
    t.same([...new Set(unknown.map(visible))], [...new Set(known.map(visible))], 'an address without an account')

    const owner = await send('/auth', { email, password }, networks[1] as string, { 'x-device-token': device }, 1)
    t.equal(owner.status, 200, 'from a network that attacks')
    t.match(owner.headers['x-device-token'], /./)
    const cookie = `__Host-device=${String(owner.headers['x-device-token'])}`
    const again = await send('/auth', { email, password, cookie: true }, networks[2] as string, { cookie }, 0)
    t.equal(again.status, 200)
    t.match(again.headers['set-cookie'], [/^__Host-session=/, /^__Host-device=/])
  }
)

t.test('a wrong password makes a network failing; a device token keeps its share of the hashes', async (t) => {
  const { email, device } = await newAccount()
  const office = newClient()
  const before = await counts('auth_password_hash_started_total')
  await guess(email, [office], 1)
  t.equal((await send('/auth', { email, password }, office)).status, 200)
  t.equal((await send('/auth', { email, password }, office, { 'x-device-token': device })).status, 200)
  const after = await counts('auth_password_hash_started_total')
  const started = Object.keys(after).map((each) => [each, (after[each] as number) - (before[each] as number)])
  t.same(Object.fromEntries(started), { known: 1, clean: 1, shed: 0, failing: 1 })
})

t.test('a network over its limit of guesses is closed to others, and open to a known device', async (t) => {
  const { email, device } = await newAccount()
  const office = newClient()
  const statuses = (await guess(newAddress(), [office], 40)).map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 401).length, 30, 'both gateways count together')
  t.equal(statuses.filter((status) => status === 429).length, 10)
  const without = await send('/auth', { email, password }, office)
  const forged = await send('/auth', { email, password }, office, { 'x-device-token': `${device}x` }, 1)
  const ofOther = await send('/auth', { email: newAddress(), password }, office, { 'x-device-token': device }, 1)
  t.same([without.status, forged.status, ofOther.status], [429, 429, 429])
  const text = (response: Response) => visible(response).replaceAll(/in \d+ s|"\d+"/g, '')
  t.equal(text(forged), text(ofOther), 'the response does not show whether the address has an account')
  t.equal((await send('/auth', { email, password }, office, { 'x-device-token': device }, 1)).status, 200)
  t.equal((await send('/reg', { email: newAddress(), password }, office)).status, 201, 'registrations count apart')
})

t.test(
  'each event of the vocabulary is logged with the user id, and no line has an address or a network',
  async (t) => {
    const client = newClient()
    const email = newAddress()
    const { body } = await send('/reg', { email, password }, client)
    const userId = JSON.parse(body).user.id
    const { body: login } = await send('/auth', { email, password }, client)
    const { token } = JSON.parse(login).session
    await send('/auth', { email, password: 'wrong password' }, client)
    await guess(email, Array.from({ length: 50 }, newClient), 80)
    const withToken = (method: string, path: string, held: string) =>
      fetch(`http://127.0.0.1:${gateways[0]}${path}`, { method, headers: { authorization: `Bearer ${held}` } })
    t.equal((await withToken('DELETE', '/logout', token)).status, 204)
    t.equal((await withToken('DELETE', '/delete', JSON.parse(body).session.token)).status, 204)
    const output = one.output() + two.output()
    const lines = output
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
    const vocabulary: [service: string, event: string, hasUser: boolean][] = [
      ['gateway', 'sys_startup', false],
      ['user-svc', 'sys_startup', false],
      ['session-svc', 'sys_startup', false],
      ['gateway', 'excess_rate_limit_exceeded', false],
      ['user-svc', 'user_created', true],
      ['session-svc', 'session_created', true],
      ['user-svc', 'authn_login_success', true],
      ['user-svc', 'authn_login_fail', true],
      ['user-svc', 'authn_login_fail_max', true],
      ['session-svc', 'session_ended', true],
      ['user-svc', 'user_deleted', true]
    ]
    for (const [service, event, hasUser] of vocabulary) {
      const found = lines.filter((line) => line.service === service && line.event === event)
      const isOfUser = found.some((line) => line.userId === userId)
      t.ok(hasUser ? isOfUser : found.length > 0, `${service}: ${event}`)
    }
    t.notMatch(output, /@example|person\d/, 'no address')
    t.notOk(output.includes(clientRange), 'no client address')
  }
)
