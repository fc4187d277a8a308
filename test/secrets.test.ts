/** Promise 4: a password, a token or a credential is found in no log line, metric or error, in whatever form it came. */

import t from 'tap'
import { createProduct, newAddress, until } from './support/product.ts'

const canary = 'cAnArY-9f8e7d6c5b'
const pepper = Buffer.from('pepper-cAnArY-1a2b3c4d5e6f7081-and-more').toString('base64')
const product = await createProduct(t, { USER_SVC_PASSWORD_PEPPERS: `a:${pepper}`, LOG_LEVEL: 'debug' })
await product.startAll()

const rest = `http://127.0.0.1:${product.ports.rest}`
const forms = (secret: string) => [
  secret,
  encodeURIComponent(secret),
  Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  Buffer.from(secret).toString('hex'),
  JSON.stringify(secret).slice(1, -1)
]

t.test('canaries in every place of every route', async (t) => {
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
  t.equal((await send('/session', { headers: { authorization: `Bearer ${token}` } })).status, 200)
  t.equal((await send('/delete', { method: 'DELETE', headers: { authorization: `Bearer ${token}` } })).status, 204)
  await until('the log of the deletion', () => product.output('gateway').includes('/delete'))

  const metrics = await Promise.all(
    (['gateway', 'user-svc', 'session-svc'] as const).map(async (name) => (await product.ops(name, '/metrics')).text())
  )
  const secret = Buffer.from(token.slice(4), 'base64url').subarray(16, 48)
  const places = { log: product.output(), metrics: metrics.join('\n') }
  for (const [place, content] of Object.entries(places)) {
    t.ok(content.length > 1000, `${place}: ${content.length} characters`)
    for (const form of [
      ...forms(canary),
      token,
      token.slice(4),
      secret.toString('base64url'),
      secret.toString('hex')
    ]) {
      t.notOk(content.includes(form), `${place} has no ${form.slice(0, 6)}…`)
    }
    for (const hidden of [product.rpcToken, pepper, product.env.USER_SVC_POSTGRES_URL as string, email, '127.0.0.1"']) {
      t.notOk(content.includes(hidden), `${place} has no secret or address`)
    }
  }
  const own = bodies.join('\n')
  for (const form of [token, secret.toString('hex'), product.rpcToken, pepper]) t.notOk(own.includes(form))
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
  for (const part of ['forged', '\u2028', '\u001b']) t.notOk(product.output().includes(part))
})
