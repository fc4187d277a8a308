/** Promise 4: no log line, metric or error contains a password, a token or a credential, in any encoding. */

import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { requestOf, routes } from '../gateway/test/all-routes.ts'
import { collectedLines } from './support/log-stack.ts'
import { createMailServer, mailSettings } from './support/mail-server.ts'
import { createProduct, longBudgets, newAddress } from './support/product.ts'

const canary = 'cAnArY-9f8e7d6c5b'
const pepper = Buffer.from('pepper-cAnArY-1a2b3c4d5e6f7081-and-more').toString('base64')
const id = randomBytes(4).toString('hex')
const brokers = engineAddress('TEST_KAFKA_BROKERS')
const topic = `logs-${id}`
const mail = await createMailServer(t)
await mail.start()
const settings = mailSettings(mail.port)
const product = await createProduct(t, {
  ...longBudgets,
  ...settings,
  GATEWAY_BUDGETS_PASSWORD: '20s',
  GATEWAY_BUDGETS_ACCOUNT: '20s',
  LOG_STDOUT: 'trace',
  USER_SVC_PASSWORD_PEPPERS: `a:${pepper}`,
  LOG_LEVEL: 'trace',
  KAFKA_BROKERS: brokers,
  KAFKA_LOGS_TOPIC: topic,
  LOG_SINK_GROUP: `sinks-${id}`
})
await product.startAll('log-sink')

const rest = `http://127.0.0.1:${product.ports.rest}`
const forms = (secret: string) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  Buffer.from(secret).toString('hex'),
  JSON.stringify(secret).slice(1, -1)
]

/** All that is in the files below a folder. */
function filesBelow(folder: string): string {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const contents = files.map(({ parentPath, name }) => {
    try {
      return readFileSync(join(parentPath, name), 'utf8')
    } catch (error) {
      // log-sink has renamed the file since.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
      throw error
    }
  })
  return contents.join('\n')
}

/** All rows of user-svc. */
async function databaseContent(): Promise<string> {
  const sql = postgres(product.env.USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  const tables = ['users', 'outbox', 'emails', 'email_limits', 'guess_counts', 'row_keys', 'topics']
  const rows = await Promise.all(
    tables.map((name) => sql`select row_to_json(each)::text as row from ${sql(name)} each`)
  )
  await sql.end()
  return rows
    .flat()
    .map(({ row }) => row)
    .join('\n')
}

/** All that is in the topic, keys and headers included. */
async function topicContent(): Promise<string> {
  const kafka = createKafka(testKafka(), 'test')
  const admin = kafka.admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const left = new Set(ends.filter(({ high }) => Number(high) > 0).map(({ partition }) => partition))
  const consumer = kafka.consumer({ groupId: `test-${id}`, retry: { retries: 5 } })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const content: string[] = []
  await consumer.run({
    eachMessage: async ({ partition, message: { key, value, headers, offset } }) => {
      const named = Object.entries(headers ?? {}).map(([name, each]) => `${name}: ${each}`)
      content.push(`${key}`, ...named, `${value}`)
      const high = ends.find((end) => end.partition === partition)?.high
      if (Number(offset) + 1 >= Number(high)) left.delete(partition)
    }
  })
  await until('the topic has been read', () => left.size === 0)
  await consumer.disconnect()
  return content.join('\n')
}

t.test('canaries in every place of every route', async (t) => {
  t.setTimeout(600_000)
  const bodies: string[] = []
  const send = async (path: string, init: RequestInit) => {
    const response = await fetch(rest + path, init)
    const text = await response.text()
    // A new session's token is what these answers are for.
    if (response.status !== 200 && response.status !== 201) bodies.push(text)
    return { status: response.status, text }
  }
  const json = { 'content-type': 'application/json' }
  const email = newAddress()
  const credentials = JSON.stringify({ email, password: canary })
  const { text } = await send('/reg', { method: 'POST', headers: json, body: credentials })
  t.match(JSON.parse(text), { session: { token: /^ses_/ } }, 'registered')
  const { token } = JSON.parse(text).session
  t.equal((await send('/auth', { method: 'POST', headers: json, body: credentials })).status, 200)
  for (const path of ['/reg', '/auth']) {
    for (const body of [
      credentials.slice(0, -1),
      `{"${canary}":1}`,
      `[${credentials}]`,
      canary,
      credentials.replace('{', '{"x":1,')
    ]) {
      await send(`${path}?password=${canary}`, { method: 'POST', headers: json, body })
    }
    await send(path, { method: 'POST', headers: { 'content-type': `text/${canary}` }, body: canary })
    await send(path, {
      method: 'POST',
      headers: json,
      body: JSON.stringify({ email: `${canary}@x`, password: canary })
    })
  }
  for (const [method, path] of [
    ['GET', '/session'],
    ['DELETE', '/logout'],
    ['DELETE', '/delete'],
    ['GET', '/nowhere']
  ] as const) {
    for (const authorization of [`Bearer ${canary}`, canary, `Basic ${canary}`, `Bearer ${token.slice(0, -1)}`]) {
      await send(`${path}?token=${token}&x=${canary}`, {
        method,
        headers: { authorization, 'x-canary': canary, cookie: canary }
      })
    }
  }
  // Every text of a body, the cookie and the user agent.
  for (const route of routes.filter(({ payload }) => payload !== undefined)) {
    // With the correct current password, the session would end.
    for (const field of Object.keys(route.payload ?? {}).filter((name) => name !== 'currentPassword')) {
      const body = JSON.stringify({ ...route.payload, [field]: canary })
      const headers = { ...json, cookie: `__Host-session=${canary}`, 'user-agent': canary }
      await send(requestOf(route).url, { method: route.method, headers, body })
      if (!route.needsToken) continue
      const authorization = `Bearer ${token}`
      await send(requestOf(route).url, { method: route.method, headers: { ...headers, authorization }, body })
    }
  }
  const emailed = await mail.tokenTo(email, 'verify')
  const use = { method: 'PUT', headers: json, body: JSON.stringify({ token: emailed }) }
  t.equal((await send('/email/verification', use)).status, 204)
  t.equal((await send('/email/verification', use)).status, 403)
  t.equal((await send('/session', { headers: { authorization: `Bearer ${token}` } })).status, 200)
  const database = await databaseContent()
  t.equal((await send('/delete', { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })).status, 204)
  await until('the log of the deletion', () => product.output('gateway').includes('/delete'))
  const logs = join(product.dataDir, 'logs')
  await until('its collection', () =>
    collectedLines(logs).some(({ service, msg }) => service === 'user-svc' && msg === 'deleted an account')
  )
  await until('the collection of the request', () => filesBelow(logs).includes('"route":"/delete"'))

  const metrics = await Promise.all(
    (['gateway', 'user-svc', 'session-svc', 'log-sink'] as const).map(async (name) =>
      (await product.ops(name, '/metrics')).text()
    )
  )
  const [mailKey = ''] = String(settings.MAIL_KEYS).split(':').slice(1)
  const secret = Buffer.from(token.slice(4), 'base64url').subarray(16, 48)
  const places = {
    'standard output': product.output(),
    spool: filesBelow(join(product.dataDir, 'spool')),
    topic: await topicContent(),
    'collected files': filesBelow(logs),
    metrics: metrics.join('\n')
  }
  for (const [place, content] of Object.entries(places)) {
    t.ok(content.length > 1000, `${place}: ${content.length} characters`)
    for (const form of [
      ...forms(canary),
      token,
      token.slice(4),
      secret.toString('base64url'),
      secret.toString('hex'),
      emailed
    ]) {
      t.notOk(content.includes(form), `${place} has no ${form.slice(0, 6)}…`)
    }
    for (const hidden of [
      product.rpcToken,
      ...product.callers.map(({ token }) => token),
      pepper,
      mailKey,
      product.env.USER_SVC_POSTGRES_URL as string,
      email,
      '127.0.0.1"'
    ]) {
      t.notOk(content.includes(hidden), `${place} has no secret or address`)
    }
  }
  t.ok(database.includes(email), 'the rows were read')
  for (const form of [...forms(canary), token, secret.toString('hex'), emailed, mailKey, pepper]) {
    t.notOk(database.includes(form), `no row has ${form.slice(0, 6)}…`)
  }
  const own = bodies.join('\n')
  for (const form of [token, secret.toString('hex'), emailed, product.rpcToken, pepper]) t.notOk(own.includes(form))
})

t.test('nothing in the input makes a second line', async (t) => {
  const lines = () =>
    product
      .output()
      .split('\n')
      .filter((line) => line !== '')
  const evil = 'x\r\n{"level":"fatal","msg":"forged"}\u2028\u001b[31m'
  await product.call('POST', '/auth', { json: { email: evil, password: evil } })
  await product.call('POST', '/auth', { json: { [evil]: evil } })
  await new Promise((resolve) => setTimeout(resolve, 100))
  for (const line of lines()) t.doesNotThrow(() => JSON.parse(line), line)
  t.match(await (await product.ops('log-sink', '/metrics')).text(), /^log_sink_dead_letters_total 0$/m)
  for (const part of ['forged', '\u2028', '\u001b']) t.notOk(product.output().includes(part))
})
