/** 500 emails through a mail server that resets every fifth connection at a random moment: sent, duplicated, lost. */

import t from 'tap'
import { until } from '#common/testing/until.ts'
import { systemClock } from '#common/time/clock.ts'
import { startSender } from '../../mail/mail-sender.ts'
import { createSmtpDelivery } from '../../mail/smtp.ts'
import { createEmails } from './emails.ts'
import { sender as from, noOpenssl, type Received, startMailServer } from './mail-server.ts'

const emailCount = 500
const resetShare = 0.2
const moments = ['greeting', 'sender', 'recipient', 'data', 'end', 'reply'] as const

t.test('loses no email', { skip: noOpenssl }, async (t) => {
  t.setTimeout(180_000)
  const { senderParts, insert, count } = await createEmails(t)
  let resets = 0
  let lostReplies = 0
  const planned = new Map<string, (typeof moments)[number]>()
  const received: Pick<Received, 'to'>[] = []

  /** Resets the connection if that is its fate at this moment. */
  function survives(session: { id: string; remotePort: number }, moment: (typeof moments)[number]): boolean {
    if (planned.get(session.id) !== moment) return true
    resets += 1
    server.reset(session)
    return false
  }

  const server = await startMailServer(t, {
    onConnect(session, done) {
      const moment = moments[Math.floor(Math.random() * moments.length)]
      if (Math.random() < resetShare && moment) planned.set(session.id, moment)
      if (survives(session, 'greeting')) done()
    },
    onMailFrom: (_address, session, done) => void (survives(session, 'sender') && done()),
    onRcptTo: (_address, session, done) => void (survives(session, 'recipient') && done()),
    onData(stream, session, done) {
      stream.once('data', () => survives(session, 'data'))
      stream.on('end', () => {
        if (!survives(session, 'end')) return
        // From here on the server is responsible for the email, also if its reply is lost.
        received.push({ to: session.envelope.rcptTo.map(({ address }) => address) })
        if (survives(session, 'reply')) done()
        else lostReplies += 1
      })
      stream.resume()
    }
  })
  for (let each = 0; each < emailCount; each += 1) await insert()
  const senders = [1, 2].map(() => {
    const delivery = createSmtpDelivery(server.address(), from, { setupMs: 5000, replyMs: 5000 })
    return startSender({ ...senderParts(delivery), clock: systemClock })
  })
  t.teardown(() => Promise.all(senders.map(({ close }) => close())))
  const allSent = async () => (await count('sent_at is null')) === 0
  const tookMs = await until('all emails are sent', allSent, 150_000)

  const recipients = received.map(({ to }) => `${to}`)
  const sent = new Set(recipients).size
  const [duplicated, lost] = [recipients.length - sent, emailCount - sent]
  t.comment(
    `emails ${emailCount}, resets ${resets}, sent ${sent}, duplicated ${duplicated}, lost ${lost}, ${Math.round(tookMs)} ms`
  )
  t.equal(lost, 0)
  t.equal(await count('dead_at is not null'), 0)
  t.ok(resets > emailCount * resetShare * 0.5, `${resets} resets`)
  t.equal(duplicated, lostReplies, 'only an email whose reply was lost is sent again')
})
