/** The address of the client behind proxies, in every spelling, and the networks that limits count. */

import { randomInt } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { silentLog } from '#common/testing/service.ts'
import { clientFinder, networks } from '../client-address.ts'
import { buildGateway, credentials, limitsOf, newAddress, wrongPassword } from './gateway.ts'
import { logins } from './statuses.ts'

const isTrusted = networks(['10.0.0.0/8', '2001:db8:aaaa::/48'])
const request = (remoteAddress: string | undefined, forwarded?: string) =>
  ({
    socket: { remoteAddress },
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
  }) as IncomingMessage

fieldCase(t, 27, 'each client behind two proxies has its own limits, with and without ports', async (t) => {
  const clientOf = clientFinder(isTrusted, silentLog)
  const inner = [
    '10.0.0.5:4711',
    '"10.0.0.5:4711"',
    ' 10.0.0.5 ',
    '::ffff:10.0.0.5',
    '[::ffff:10.0.0.5]:4711',
    '::FFFF:a00:5'
  ]
  inner.push(
    '"[2001:db8:aaaa::1]:4711"',
    '[2001:db8:aaaa::1]',
    '2001:DB8:AAAA:0:0::1',
    '[10.0.0.5]:80',
    '::ffff:10.0.0.5%eth0'
  )
  const clients = {
    '203.0.113.1': '203.0.113.1',
    '203.0.113.1:99': '203.0.113.1',
    '"[2001:db8::1]:4711"': '2001:db8::1'
  }
  for (const hop of inner) {
    for (const peer of ['10.9.9.9', '::ffff:10.9.9.9']) {
      for (const [written, client] of Object.entries(clients)) {
        t.equal(clientOf(request(peer, `198.51.100.7, ${written},${hop}`)), client, `${written}, ${hop}`)
      }
    }
  }
  t.equal(clientOf(request('10.9.9.9', ' , 203.0.113.1 , ,')), '203.0.113.1', 'empty hops')
  t.equal(clientOf(request('10.9.9.9', '10.0.0.1:1, 10.0.0.2')), '10.0.0.1', 'every hop is trusted')
  t.equal(clientOf(request(undefined, '10.0.0.1')), undefined)
  const reset = request('203.0.113.9')
  t.equal(clientOf(reset), '203.0.113.9')
  Object.assign(reset, request(undefined))
  t.equal(clientOf(reset), '203.0.113.9', 'the client of a connection that was reset meanwhile')

  const proxies = [newAddress(), newAddress()] as const
  const { app } = await buildGateway(t, {
    users: { authenticateAndLogin: wrongPassword },
    options: {
      trustedProxies: proxies.map((address) => `${address}/32`),
      rateLimit: limitsOf({ max: 9, credentialsMax: 2 })
    }
  })
  const login = async (client: string) => {
    const headers = { 'x-forwarded-for': `${client}, ${proxies[1]}:4711` }
    const call = { method: 'POST', url: '/auth', payload: credentials, remoteAddress: proxies[0], headers } as const
    return (await app.inject(call)).statusCode
  }
  for (const client of [newAddress(), newAddress(), `${newAddress()}:80`]) {
    t.same([await login(client), await login(client), await login(client)], [401, 401, 429])
  }
})

fieldCase(t, 27, 'a hop that is no address is never trusted, and has limits of its own', async (t) => {
  const lines: string[] = []
  const clientOf = clientFinder(
    isTrusted,
    createLogger('gateway', 'info', { write: (line: string) => void lines.push(line) })
  )
  const garbage = [
    'unknown',
    '_hidden',
    '10.0.0.5:',
    '10.0.0.5:123456',
    '10.0.0.05',
    '10.0.0',
    '[10.0.0.5',
    'unix:',
    '256.1.1.1',
    '10.0.0.5 10.0.0.6'
  ]
  const clients = garbage.map((hop) => clientOf(request('10.9.9.9', `203.0.113.1, ${hop}`)))
  t.equal(new Set(clients).size, garbage.length)
  t.ok(
    clients.every((client) => /^unreadable-[0-9a-f]{32}$/.test(String(client))),
    clients.join()
  )
  t.equal(clientOf(request('10.9.9.9', '203.0.113.1, _hidden')), clients[1])
  t.equal(lines.length, 1, 'one warning')
  t.match(lines[0], /"level":"warn".*"event":"forwarded_for_unreadable"/)
})

fieldCase(t, 27, 'X-Forwarded-For of a peer that is not trusted is ignored, and logged once', async (t) => {
  const lines: string[] = []
  const log = createLogger('gateway', 'info', { write: (line: string) => void lines.push(line) })
  const clientOf = clientFinder(networks([]), log)
  t.equal(clientOf(request('10.9.9.9')), '10.9.9.9')
  t.equal(lines.length, 0)
  for (const forged of ['203.0.113.1', '203.0.113.2, 10.0.0.1'])
    t.equal(clientOf(request('10.9.9.9', forged)), '10.9.9.9')
  t.equal(lines.length, 1)
  t.match(lines[0], /"level":"warn".*"event":"forwarded_for_ignored"/)
  t.notMatch(lines[0], /10\.9|203\.0/, 'no address is logged')
})

const users = { authenticateAndLogin: wrongPassword }
const rateLimit = limitsOf({ max: 5, credentialsMax: 2 })
const limited = { users, options: { rateLimit } }
const newNetwork = () => `2001:db8:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}`

t.test('counts an IPv6 network as one client, and an IPv4 address in IPv6 as that address', async (t) => {
  const { app } = await buildGateway(t, limited)
  const network = newNetwork()
  t.same(await logins(app, [`${network}::1`, `${network}:ffff::2`, `${network}:0:0:0:3`]), [401, 401, 429])
  const address = newAddress()
  t.same(await logins(app, [address, `::ffff:${address}`, address]), [401, 401, 429])
})

t.test('believes X-Forwarded-For only of a trusted proxy, and only its nearest untrusted hop', async (t) => {
  const { app } = await buildGateway(t, limited)
  const peer = newAddress()
  t.same(await logins(app, [peer], [newAddress(), newAddress(), newAddress()]), [401, 401, 429])
  const [proxy, inner, client] = [newAddress(), newAddress(), newAddress()]
  const trustedProxies = [`${proxy}/32`, `${inner}/32`]
  const { app: behind } = await buildGateway(t, { users, options: { rateLimit, trustedProxies } })
  t.same(await logins(behind, [proxy], [newAddress(), newAddress(), newAddress()]), [401, 401, 401])
  t.same(await logins(behind, [proxy], [`${newAddress()}, ${client}, ${inner}`]), [401])
  t.same(await logins(behind, [`::ffff:${proxy}`], [client]), [401])
  t.same(
    await logins(behind, [inner], [`${newAddress()}, ${client}`]),
    [429],
    'the first hop is the claim of the client'
  )
})

t.test('counts a client with and without a port, and an IPv6 client by its network', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { users, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const [client, network] = [newAddress(), newNetwork()]
  t.same(await logins(app, [proxy], [`${client}:1`, client, `${client}:2`]), [401, 401, 429])
  t.same(await logins(app, [proxy], [`[${network}::1]:1`, `${network}::2`, `[${network}::3]`]), [401, 401, 429])
})

t.test('answers a request whose X-Forwarded-For is not readable', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { users, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const addresses = ['garbage', '', ',', ', ,', '1.2.3', '999.1.1.1', '::::', '[::1]:80', 'x'.repeat(2000), 'unknown']
  for (const claim of addresses) {
    const [status] = await logins(app, [proxy], [claim])
    t.ok(status === 401 || status === 429, `${JSON.stringify(claim.slice(0, 20))}: ${status}`)
  }
})

t.test('an IPv6 /48 may send as much as 16 of its networks', async (t) => {
  const { app } = await buildGateway(t, { users, options: { rateLimit: limitsOf({ credentialsMax: 1 }) } })
  const block = `2001:db8:${randomInt(65_536).toString(16)}`
  const peers = Array.from({ length: 20 }, (_, index) => `${block}:${index.toString(16)}::1`)
  t.same(await logins(app, peers), [...Array(16).fill(401), ...Array(4).fill(429)])
  t.same(await logins(app, [`${newNetwork()}::1`]), [401])
})
