/** Signs the events of accounts with Ed25519: a consumer has the public key, and cannot sign events itself. */

import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'

/** The header of a record with the signature of its value: `<name of the key>:<base64>`. */
export const signatureHeader = 'signature'

// RFC 8410: an Ed25519 private key in PKCS #8, in front of its 32 bytes.
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

interface SigningKey {
  name: string
  key: KeyObject
}

/** @param key `name:base64` of 32 bytes; further bytes are not used */
function signingKey(key: string): SigningKey {
  const [name = '', base64 = ''] = key.split(':')
  const der = Buffer.concat([pkcs8Prefix, Buffer.from(base64, 'base64').subarray(0, 32)])
  return { name, key: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) }
}

/** The public half of a key, as `name:base64` of its 32 bytes. */
export function publicEventKey(key: string): string {
  const { name, key: privateKey } = signingKey(key)
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return `${name}:${spki.subarray(-32).toString('base64')}`
}

/** @param keys `userSvc.eventKeys`: the first one signs */
export function eventSigner([newest]: string[]): (value: string) => Record<string, string> {
  if (newest === undefined) return () => ({})
  const { name, key } = signingKey(newest)
  return (value) => ({ [signatureHeader]: `${name}:${sign(null, Buffer.from(value), key).toString('base64')}` })
}
