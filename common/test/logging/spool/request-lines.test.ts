/** L10: requests without a limit do not push lines of audits out of the disk buffer while Kafka is down. */

import t from 'tap'
import { keepRoomForAudits } from '#common/logging/spool/request-lines.ts'

/** A spool that adds the event of each line to a list. */
const spoolTo = (events: string[]) => ({
  write: (text: string) => void events.push(JSON.parse(text).event),
  flush() {},
  close() {},
  remove() {}
})
const line = (event: string, msg = 'm') => `${JSON.stringify({ level: 'info', event, msg })}\n`

t.test('drops lines of requests while more than half of the buffer is in use', async (t) => {
  const written: string[] = []
  let dropped = 0
  const spool = keepRoomForAudits(spoolTo(written), 10_000, () => {
    dropped += 1
  })
  const writeAll = () => {
    spool.write(line('http_request'))
    spool.write(line('rpc_served'))
    spool.write(line('authn_login_success', 'after "event":"http_request"'))
  }
  spool.onSize(4000)
  writeAll()
  t.same(written, ['http_request', 'rpc_served', 'authn_login_success'])
  spool.onSize(5001)
  writeAll()
  t.same(written.slice(3), ['authn_login_success'])
  t.equal(dropped, 2)
  spool.onSize(0)
  writeAll()
  t.equal(written.length, 7)
})

// N11: malformed requests, which no limit counts.
t.test('drops each line that a client can cause with every request, and keeps the others', async (t) => {
  const kept: string[] = []
  const spool = keepRoomForAudits(spoolTo(kept), 10_000, () => {})
  spool.onSize(5001)
  const audits = ['authn_login_fail', 'authz_fail', 'excess_rate_limit_exceeded', 'admin_call', 'dependency_down']
  const ofRequests = [
    'http_refused',
    'request_failed',
    'ops_request_failed',
    'session_unreadable',
    'guess_count_failed'
  ]
  for (const event of [...audits, ...ofRequests]) spool.write(line(event))
  t.same(kept, audits)
})

t.test('lines that were written since the last report count', async (t) => {
  const written: string[] = []
  const spool = keepRoomForAudits(spoolTo(written), 10_000, () => {})
  spool.onSize(2000)
  for (let count = 0; count < 1000; count += 1) spool.write(line('http_request'))
  const bytes = written.length * line('http_request').length
  t.ok(bytes > 2900 && bytes < 3100, `${bytes} bytes`)
  spool.onSize(2000)
  spool.write(line('http_request'))
  t.ok(written.length * line('http_request').length > bytes, 'a report replaces the count')
})
