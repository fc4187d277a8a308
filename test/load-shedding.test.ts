/** A client that has more passwords checked than a machine can: its own calls are shed, those of other networks are served. */

import t from 'tap'
import { newClient, postFrom } from './support/client-networks.ts'
import { createProduct, newAddress, password } from './support/product.ts'

// The hashes of a burst take ten seconds and more, the deadline of a login is five.
const settings = { USER_SVC_PASSWORD_COST: '10', USER_SVC_PASSWORD_HASHES_AT_ATIME: '1' }
const { startAll, ports } = await createProduct(t, settings)
await startAll()

const post = (client: string, path: string, email: string) =>
  postFrom(client, { port: ports.rest, path, body: { email, password } })

t.test('after a burst of a network, the next login of another one is served at once', async (t) => {
  const email = newAddress()
  const [owner, attacker] = [newClient(), newClient()]
  t.equal((await post(owner, '/reg', email)).status, 201)
  const shed = Promise.withResolvers<void>()
  const burst = Array.from({ length: 300 }, async () => {
    const { status } = await post(attacker, '/auth', newAddress())
    if (status === 503) shed.resolve()
    return status
  })
  await shed.promise
  // The gateway has just seen a call that was shed: for 100 ms it rejects those of the same network alone.
  const login = await post(owner, '/auth', email)
  t.equal(login.status, 200)
  t.match([...new Set(await Promise.all(burst))].sort(), [401, 503])
})
