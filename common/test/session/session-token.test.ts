/** Session tokens: parsing accepts the canonical form only. */

import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { createToken, parseToken, sessionId } from '#common/session/session-token.ts'

t.test('parseToken returns the user and the hash of createToken', async (t) => {
  for (let round = 0; round < 100; round++) {
    const userId = uuidv7()
    const { token, hash } = createToken(userId)
    t.same(parseToken(token), { userId, hash })
    t.match(sessionId(hash), /^[\w-]{22}$/)
  }
})

t.test('rejects a token with one character changed, added or removed', async (t) => {
  const { token } = createToken(uuidv7())
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  let accepted = 0
  for (let index = 0; index < token.length; index++) {
    for (const letter of alphabet) {
      if (letter === token[index]) continue
      if (parseToken(token.slice(0, index) + letter + token.slice(index + 1))) accepted += 1
    }
    if (parseToken(token.slice(0, index) + token.slice(index + 1))) accepted += 1
  }
  t.equal(accepted, 0)
  for (const odd of [`${token}=`, ` ${token}`, `${token}\n`, token.toUpperCase(), token.replace('ses_', 'SES_')]) {
    t.equal(parseToken(odd), undefined)
  }
})

t.test('rejects arbitrary strings, and random bytes without a valid checksum', async (t) => {
  const text = fc.oneof(
    fc.string(),
    fc.constant(0).map(() => `ses_${randomBytes(52).toString('base64url')}`)
  )
  t.doesNotThrow(() => fc.assert(fc.property(text, (token) => parseToken(token) === undefined)))
})
