/** A client that has more passwords checked than a machine can: its own calls are shed, those of other networks are served. */

import t from 'tap'
import { newClient, postFrom } from './support/client-networks.ts'
import { createProduct, newAddress, password } from './support/product.ts'

// A hash takes half a second, so a burst of 60 is more than the deadline of a login permits.
const settings = { USER_SVC_PASSWORD_COST: '13', USER_SVC_PASSWORD_HASHES_AT_ATIME: '1' }
const { startAll, ops, ports } = await createProduct(t, settings)
await startAll()

const post = (client: string, path: string, email: string) =>
  postFrom(client, { port: ports.rest, path, body: { email, password } })

/** A counter of a service; 0 if it has no such series. */
async function counter(service: 'gateway' | 'user-svc', series: string): Promise<number> {
  const metrics = await (await ops(service, '/metrics')).text()
  const line = metrics.split('\n').find((each) => each.startsWith(`${series} `))
  return Number(line?.slice(series.length) ?? 0)
}

t.test('after a burst of a network, the next login of another one is served at once', async (t) => {
  const email = newAddress()
  const [owner, attacker] = [newClient(), newClient()]
  t.equal((await post(owner, '/reg', email)).status, 201)
  const refused = 'rpc_client_overload_refused_total{upstream="user-svc"}'
  const shedClass = 'auth_password_hash_shed_total{class="shed"}'

  const shed = Promise.withResolvers<void>()
  const burst = Array.from({ length: 60 }, async () => {
    const { status } = await post(attacker, '/auth', newAddress())
    if (status === 503) shed.resolve()
    return status
  })
  await shed.promise
  // The gateway has just seen a call that was shed: for 100 ms it rejects those of the same network alone.
  const [again, login] = await Promise.all([
    Promise.all(Array.from({ length: 10 }, () => post(attacker, '/auth', newAddress()))),
    post(owner, '/auth', email)
  ])
  t.equal(login.status, 200)
  t.same([...new Set(again.map(({ status }) => status))], [503])
  t.ok((await counter('gateway', refused)) > 0, 'calls of the attacker did not reach user-svc')
  t.ok((await counter('user-svc', shedClass)) > 0, 'the network has the share of one whose calls were shed')
  t.match([...new Set(await Promise.all(burst))].sort(), [401, 503])
})
