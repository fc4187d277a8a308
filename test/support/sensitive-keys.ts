/** Every sensitive key of the configuration, with a value that contains a given secret. */

import type { Key } from '#common/config/keys.ts'
import { forEachKey, type Schema } from '#common/config/load.ts'

/** Keys whose values are not printed, but accept no secret: lists of addresses. */
export const withoutSecret = ['rpc.userSvcUrl', 'rpc.sessionSvcUrl', 'redis.nodes', 'kafka.brokers']

/** A sensitive key. */
export interface SensitiveKey {
  path: string
  key: Key<unknown>
  /** A text for the environment, with a secret of 32 bytes in base64. */
  textWith(secret: string): string
}

const forms: ((secret: string) => string)[] = [
  (secret) => secret,
  (secret) => `a:${secret}`,
  (secret) => `shop:${secret}:validation`,
  (secret) => `redis://user:${encodeURIComponent(secret)}@127.0.0.1:6379`,
  (secret) => `postgres://user:${encodeURIComponent(secret)}@127.0.0.1:5432/auth`,
  (secret) => `smtp://user:${encodeURIComponent(secret)}@127.0.0.1`
]
const sample = Buffer.alloc(32, 'sample of a key').toString('base64')

const isList = ({ format }: Key<unknown>) => format === 'list' || format === 'text-or-list'

/**
 * The sensitive keys of a schema that contain secrets.
 *
 * @throws for a key that accepts none of the forms: add its form here, so that the tests of secrets include it
 */
export function sensitiveKeys(schema: Schema): SensitiveKey[] {
  const found: SensitiveKey[] = []
  forEachKey(schema, (path, key) => {
    if (!key.sensitive || withoutSecret.includes(path)) return
    const textWith = forms.find((form) => {
      const value = isList(key) ? [form(sample)] : form(sample)
      return key.isValid(value) && key.secrets?.in(value).includes(sample)
    })
    if (textWith === undefined) throw new Error(`${path} accepts no known form of a secret`)
    found.push({ path, key, textWith })
  })
  return found
}
