/** A consumer with the public key accepts the events of user-svc, and no others. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { authenticEvent } from '../../../docs/samples/verify-event.ts'
import { eventSigner, publicEventKey } from '../../outbox/event-signature.ts'

const newKey = (name: string) => `${name}:${randomBytes(32).toString('base64')}`
const value = JSON.stringify({ type: 'user.v1.UserDeleted', subject: 'u1' })

t.test('accepts a signed event, and rejects a forged, changed or moved one', async (t) => {
  const key = newKey('a')
  const publicKeys = [publicEventKey(key)]
  const record = { key: Buffer.from('u1'), value: Buffer.from(value), headers: eventSigner([key])(value) }
  t.match(authenticEvent(record, publicKeys), { type: 'user.v1.UserDeleted', subject: 'u1' })
  t.equal(authenticEvent({ ...record, value: Buffer.from(value.replace('Deleted', 'Created')) }, publicKeys), undefined)
  t.equal(authenticEvent({ ...record, key: Buffer.from('u2') }, publicKeys), undefined)
  t.equal(authenticEvent({ ...record, headers: {} }, publicKeys), undefined)
  t.equal(authenticEvent({ ...record, headers: { signature: 'a:' } }, publicKeys), undefined)
  const forged = { ...record, headers: eventSigner([publicKeys[0] as string])(value) }
  t.equal(authenticEvent(forged, publicKeys), undefined, 'the public key does not sign')
})

t.test('a rotation needs no interruption', async (t) => {
  const [before, after] = [newKey('a'), newKey('b')]
  const consumer = [publicEventKey(before), publicEventKey(after)]
  for (const keys of [[before], [after, before], [after]]) {
    const record = { key: Buffer.from('u1'), value: Buffer.from(value), headers: eventSigner(keys)(value) }
    t.ok(authenticEvent(record, consumer))
  }
  t.same(eventSigner([])(value), {}, 'without a key, events are not signed')
})
