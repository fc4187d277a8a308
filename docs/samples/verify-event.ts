/** Verifies that user-svc has written a record of the topic `account-events`. */

import { createPublicKey, verify } from 'node:crypto'

interface EventRecord {
  key: Buffer | null
  value: Buffer | null
  headers?: Record<string, unknown>
}

/** An Ed25519 public key (RFC 8410), in front of its 32 bytes. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/**
 * The event of a record; undefined for a record to ignore, because no known key has signed it, or because it has the
 * key of another user.
 *
 * @param publicKeys each as `name:base64`: the line of `.data/event-keys.pub`, and during a rotation also the next one
 */
export function authenticEvent({ key, value, headers }: EventRecord, publicKeys: string[]) {
  const [name, signature = ''] = String(headers?.signature ?? '').split(':')
  const known = publicKeys.find((each) => each.split(':')[0] === name)
  if (known === undefined || value === null) return undefined
  const raw = Buffer.from(known.split(':')[1] ?? '', 'base64')
  const publicKey = createPublicKey({ key: Buffer.concat([spkiPrefix, raw]), format: 'der', type: 'spki' })
  if (!verify(null, value, publicKey, Buffer.from(signature, 'base64'))) return undefined
  const event = JSON.parse(value.toString('utf8'))
  return event.subject === key?.toString('utf8') ? event : undefined
}
