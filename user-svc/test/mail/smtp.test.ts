/** Delivery to a real mail server: TLS, authentication, and each failure with its kind. */

import t from 'tap'
import type { SmtpServer } from '#common/config/mail-section.ts'
import { MailError } from '../../mail/mail-error.ts'
import { createSmtpDelivery } from '../../mail/smtp.ts'
import {
  addressOf,
  certificates,
  closedPort,
  message,
  noOpenssl,
  sender,
  startFrozenServer,
  startMailServer
} from './mail-server.ts'

const skip = noOpenssl
const timeouts = { setupMs: 1500, replyMs: 1500 }
const never = new AbortController().signal

const deliver = (server: SmtpServer, recipient?: string, signal = never) =>
  createSmtpDelivery(server, sender, timeouts)(message(recipient), signal)

/** The failure of a delivery. */
async function failureOf(server: SmtpServer, recipient?: string, signal?: AbortSignal): Promise<MailError> {
  const error = await deliver(server, recipient, signal).then(
    () => new Error('the email was accepted'),
    (thrown) => thrown
  )
  if (!(error instanceof MailError)) throw error
  if (/example|127\.0|</.test(error.message)) throw new Error('the message has a text of the server or an address')
  return error
}

/** An error with a reply code, as handlers of smtp-server return it. */
const reply = (responseCode: number) => Object.assign(new Error('<ada@example.org>: no'), { responseCode })

t.test('sends over STARTTLS, and over TLS from the first byte', { skip }, async (t) => {
  for (const implicitTls of [false, true]) {
    const { received, address } = await startMailServer(t, { secure: implicitTls })
    for (const host of ['127.0.0.1', 'localhost']) await deliver(address({ implicitTls, host }))
    t.match(received, [{ from: sender, to: ['ada@example.org'], isSecure: true }, { isSecure: true }])
    t.match(received[0]?.content, /A line\.\r\n\.\r\nThe line after a dot\./, 'a line with a dot ends nothing')
  }
})

t.test('sends nothing to a server without TLS, unless configured', { skip }, async (t) => {
  const { received, address } = await startMailServer(t, { disabledCommands: ['STARTTLS'] })
  t.match(await failureOf(address()), { kind: 'tls', affectsAll: true, permanent: false })
  t.same(received, [])
  await deliver(address({ requireTls: false }))
  t.match(received, [{ isSecure: false }])
})

t.test('without required TLS, it uses TLS that the server offers, with any certificate', { skip }, async (t) => {
  const { received, address } = await startMailServer(t, { ...certificates?.selfSigned })
  await deliver(address({ requireTls: false }))
  t.match(received, [{ isSecure: true }])
})

t.test('rejects a certificate of another name, and one of an unknown authority', { skip }, async (t) => {
  for (const certificate of [certificates?.foreign, certificates?.selfSigned]) {
    for (const implicitTls of [false, true]) {
      const { received, address } = await startMailServer(t, { ...certificate, secure: implicitTls })
      t.match(await failureOf(address({ implicitTls })), { kind: 'tls', affectsAll: true, permanent: false })
      t.same(received, [])
    }
  }
})

t.test('rejects a server that speaks no TLS where TLS is expected, and the other way round', { skip }, async (t) => {
  const plain = await startMailServer(t)
  t.match(await failureOf(plain.address({ implicitTls: true })), { kind: 'tls', affectsAll: true })
  const tls = await startMailServer(t, { secure: true })
  t.match(await failureOf(tls.address()), { affectsAll: true })
})

t.test('authenticates, and reports rejected and unsupported credentials', { skip }, async (t) => {
  const credential = { user: 'auth', password: 'pass word:ü' }
  const { received, address } = await startMailServer(t, {
    authOptional: false,
    onAuth: ({ username, password }, _session, done) =>
      username === credential.user && password === credential.password
        ? done(null, { user: username })
        : done(new Error('<auth>: no'))
  })
  await deliver(address({ credential }))
  t.match(received, [{ user: 'auth' }])
  const wrong = { user: 'auth', password: 'wrong' }
  t.match(await failureOf(address({ credential: wrong })), { kind: 'authentication', failure: '535', affectsAll: true })
  t.match(await failureOf(address()), { kind: 'authentication', failure: '530', affectsAll: true, permanent: false })
  const without = await startMailServer(t, { disabledCommands: ['AUTH'] })
  t.match(await failureOf(without.address({ credential })), { kind: 'authentication', affectsAll: true })
})

t.test('sends no password before TLS', { skip }, async (t) => {
  const credentials: unknown[] = []
  const { address } = await startMailServer(t, {
    disabledCommands: ['STARTTLS'],
    allowInsecureAuth: true,
    onAuth: (auth, _session, done) => {
      credentials.push(auth)
      done(null, { user: 'auth' })
    }
  })
  t.match(await failureOf(address({ credential: { user: 'auth', password: 'secret' } })), { kind: 'tls' })
  t.same(credentials, [])
})

t.test('the server is absent, or its name has no address', { skip }, async (t) => {
  t.match(await failureOf(addressOf(await closedPort())), { kind: 'unreachable', affectsAll: true, permanent: false })
  const host = 'mail.invalid'
  t.match(await failureOf(addressOf(25, { host })), { kind: /unreachable|timeout/, affectsAll: true })
})

t.test('the server accepts the connection and never responds', { skip }, async (t) => {
  const port = await startFrozenServer(t)
  t.match(await failureOf(addressOf(port)), { kind: 'timeout', affectsAll: true })
  t.match(await failureOf(addressOf(port, { implicitTls: true })), { kind: 'timeout', affectsAll: true })
})

t.test('the server stops to respond at each command', { skip }, async (t) => {
  const mute = () => {}
  for (const options of [
    { onMailFrom: mute },
    { onRcptTo: mute },
    { onData: (stream: { resume(): void }) => void stream.resume() }
  ]) {
    const { address } = await startMailServer(t, options)
    t.match(
      await failureOf(address()),
      { kind: 'timeout', affectsAll: false, permanent: false },
      `${Object.keys(options)}`
    )
  }
})

t.test('a slow server is no failure', { skip }, async (t) => {
  const later = (done: () => void) => void setTimeout(done, 500)
  const { received, address } = await startMailServer(t, {
    onConnect: (_session, done) => later(done),
    onMailFrom: (_address, _session, done) => later(done),
    onRcptTo: (_address, _session, done) => later(done)
  })
  await deliver(address())
  t.equal(received.length, 1)
})

t.test('an abort ends a delivery at once', { skip }, async (t) => {
  const { address } = await startMailServer(t, { onRcptTo() {} })
  const aborting = new AbortController()
  const failure = failureOf(address(), undefined, aborting.signal)
  aborting.abort(new MailError('stopped'))
  t.match(await failure, { kind: 'stopped' })
  t.match(await failureOf(address(), undefined, aborting.signal), { kind: 'stopped' }, 'before the start')
})

t.test(
  'the server resets the connection in the middle of the message, and before its last reply',
  { skip },
  async (t) => {
    for (const when of ['data', 'end'] as const) {
      const server = await startMailServer(t, {
        onData(stream, session) {
          stream.on(when, () => server.reset(session))
          stream.resume()
        }
      })
      t.match(await failureOf(server.address()), { kind: 'connection-lost', affectsAll: false, permanent: false })
    }
  }
)

t.test('the kind of each reply', { skip }, async (t) => {
  const kinds = [
    ['onConnect', 421, { kind: 'deferred', failure: '421', affectsAll: true, permanent: false }],
    ['onConnect', 554, { kind: 'deferred', failure: '554', affectsAll: true, permanent: false }],
    ['onMailFrom', 451, { kind: 'deferred', failure: '451', affectsAll: false, permanent: false }],
    ['onMailFrom', 550, { kind: 'sender-rejected', failure: '550', affectsAll: true, permanent: false }],
    ['onRcptTo', 421, { kind: 'deferred', failure: '421', affectsAll: false, permanent: false }],
    ['onRcptTo', 451, { kind: 'deferred', failure: '451', affectsAll: false, permanent: false }],
    ['onRcptTo', 552, { kind: 'deferred', failure: '552', affectsAll: false, permanent: false }],
    ['onRcptTo', 550, { kind: 'rejected', failure: '550', affectsAll: false, permanent: true }],
    ['onData', 452, { kind: 'deferred', failure: '452', affectsAll: false, permanent: false }],
    ['onData', 421, { kind: 'deferred', failure: '421', affectsAll: false, permanent: false }],
    ['onData', 554, { kind: 'rejected', failure: '554', affectsAll: false, permanent: true }]
  ] as const
  for (const [handler, code, expected] of kinds) {
    for (const hidePIPELINING of [false, true]) {
      const { address } = await startMailServer(t, {
        hidePIPELINING,
        [handler](...args: unknown[]) {
          ;(args[0] as { resume?(): void }).resume?.()
          ;(args.at(-1) as (error: Error) => void)(reply(code))
        }
      })
      t.match(await failureOf(address()), expected, `${code} at ${handler}`)
    }
  }
})

t.test('the recipient is one address, as it is', { skip }, async (t) => {
  const { received, address } = await startMailServer(t)
  const recipient = "!#$%&'*+/=?^_`{|}~-@xn--bcher-kva.example"
  await deliver(address(), recipient)
  t.same(received[0]?.to, [recipient])
  for (const injected of ['a@b.org>\r\nRCPT TO:<c@d.org', 'a@b.org\nDATA', 'a@b.org> NOTIFY=NEVER']) {
    const error = await failureOf(address(), injected)
    t.match(error, { kind: 'unusable', permanent: true }, JSON.stringify(injected))
  }
  t.equal(received.length, 1)
})
