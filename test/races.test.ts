/** Promise 2: after a deletion was answered, no session of the account validates, however log-ins raced it. */

import t from 'tap'
import { createProduct, newAddress, password } from './support/product.ts'

// A cost at which hashing takes some milliseconds, so that the deletion falls between the steps of the log-ins.
const product = await createProduct(t, { USER_SVC_PASSWORD_COST: '8' })
await product.startAll()
const { call } = product

t.test('twenty log-ins race one deletion', async (t) => {
  let outlived = 0
  for (let round = 0; round < 15; round++) {
    const email = newAddress()
    const { body } = await call('POST', '/reg', { json: { email, password } })
    const logins = Array.from({ length: 20 }, () => call('POST', '/auth', { json: { email, password } }))
    await new Promise((resolve) => setTimeout(resolve, round * 8))
    const deletion = await call('DELETE', '/delete', { token: body.session.token })
    const answers = await Promise.all(logins)
    t.equal(deletion.status, 204)
    const tokens = answers.filter(({ status }) => status === 200).map((answer) => answer.body.session.token)
    const others = answers.filter(({ status }) => status !== 200).map(({ status }) => status)
    t.ok(
      others.every((status) => status === 401 || status === 503),
      `the others: ${others.join(' ')}`
    )
    const checks = await Promise.all(tokens.map((token) => call('GET', '/session', { token })))
    outlived += checks.filter(({ status }) => status !== 401).length
    t.comment(`round ${round}: ${tokens.length} of 20 had logged in`)
  }
  t.equal(outlived, 0)
})
