/** The REST routes by TLS: versions, hosts, malformed requests, the limit of connections, replaced certificates under load. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { buildGateway, listen, newSession, workingServices } from './gateway.ts'

const ca = createTestCa(t)
const session = newSession()

async function serve(t: Test, tls = ca.issue('gateway'), options = {}) {
  const { app } = await buildGateway(t, { ...workingServices(session), options: { ...options, tls } })
  return listen(app)
}

/** The status of `GET /session` on a connection of its own. */
async function status(port: number, options = {}): Promise<number | string | undefined> {
  try {
    const headers = { authorization: `Bearer ${session.token}` }
    const sent = request({ host: 'localhost', port, path: '/session', ca: [], agent: false, headers, ...options }).end()
    const [response] = await once(sent, 'response')
    response.resume()
    return response.statusCode
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

const trusted = { rejectUnauthorized: false }

t.test('serves TLS 1.2 and 1.3, and refuses TLS 1.1, unknown CAs and plain HTTP', async (t) => {
  const port = await serve(t)
  t.equal(await status(port, { ...trusted, maxVersion: 'TLSv1.2' }), 200)
  t.equal(await status(port, { ...trusted, minVersion: 'TLSv1.3' }), 200)
  const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
  t.type(await status(port, { ...trusted, ...old }), 'string')
  t.equal(await status(port, { ca: undefined }), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  await t.rejects(fetch(`http://127.0.0.1:${port}/session`))
})

t.test('a client that checks the certificate refuses another host and an expired one', async (t) => {
  const checked = { ca: readFileSync(ca.ca) }
  t.equal(await status(await serve(t), checked), 200)
  const elsewhere = await serve(t, ca.issue('elsewhere', ['DNS:elsewhere.example']))
  t.equal(await status(elsewhere, checked), 'ERR_TLS_CERT_ALTNAME_INVALID')
  t.equal(await status(await serve(t, ca.issue('old', undefined, expired)), checked), 'CERT_HAS_EXPIRED')
})

t.test('the commands of docs/operate/tls.md make a CA, and reach the gateway by HTTP/2 and HTTP/1.1', async (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/operate/tls.md'), 'utf8')
  const blocks = [...page.matchAll(/^```sh.*\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text)
  const block = (start: string) => blocks.find((text) => text.startsWith(start)) ?? t.fail(`no block ${start}`)
  const tls = t.testdir()
  const run = async (text: unknown) =>
    (await promisify(execFile)('sh', ['-euc', String(text)], { env: { ...process.env, tls } })).stdout
  await run(String(block('tls=$(mktemp -d)')).replace('tls=$(mktemp -d)', ''))
  const port = await serve(t, { cert: join(tls, 'gateway.pem'), key: join(tls, 'gateway.key') })
  const output = await run(String(block('curl')).replaceAll(':8080', `:${port}`))
  t.match(output, /"status":401.* by HTTP\/2\n.*"status":401.* by HTTP\/1\.1\n/)
})

t.test('answers a malformed request with a problem inside TLS', async (t) => {
  const port = await serve(t)
  const socket = connectTls({ host: '127.0.0.1', port, ...trusted })
  await once(socket, 'secureConnect')
  socket.write('GET / HTTP/9\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += chunk
  t.match(text, /^HTTP\/1\.1 400 [\s\S]*"traceId"/)
})

t.test('connections without a handshake count against the limit of their network', async (t) => {
  const limits = { max: 1000, maxPerNetwork: 3, maxPipelined: 32, maxStreams: 100, unreadTimeout: 30_000 }
  const port = await serve(t, undefined, { connections: limits })
  const incomplete = Array.from({ length: 3 }, () => connect(port, '127.0.0.1').on('error', () => {}))
  t.teardown(() => {
    for (const socket of incomplete) socket.destroy()
  })
  await Promise.all(incomplete.map((socket) => once(socket, 'connect')))
  await until(
    'a further connection is rejected',
    async () => (await status(port, { ...trusted, host: '127.0.0.1' })) !== 200
  )
  for (const socket of incomplete) socket.destroy()
  await until('a connection is accepted', async () => (await status(port, { ...trusted, host: '127.0.0.1' })) === 200)
})

t.test('a certificate is replaced under load without a lost request', async (t) => {
  const files = { cert: ca.file('gateway.pem'), key: ca.file('gateway.key') }
  replaceFiles(ca.issue('before'), files)
  const port = await serve(t, files)
  const statuses = new Set<unknown>()
  let isDone = false
  const load = Array.from({ length: 4 }, async () => {
    while (!isDone) statuses.add(await status(port, trusted))
  })
  replaceFiles(ca.issue('after'), files)
  await until('the new certificate is served', async () => {
    const socket = connectTls({ host: '127.0.0.1', port, ...trusted })
    await once(socket, 'secureConnect')
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN === 'after'
  })
  isDone = true
  await Promise.all(load)
  t.same([...statuses], [200])
})
