/** Networks of proxies are refused if they are a large part of all addresses, alone or together. */

import t from 'tap'
import { load } from '../config.ts'

const environment = {
  CONFIG_FILE: '/dev/null',
  RPC_TOKEN: 'kD83hfZq0LmWx7RbTn5YvGc2PsJu9AeE',
  REDIS_URL: 'redis://127.0.0.1'
}
const saved = process.env
t.teardown(() => {
  process.env = saved
})

/** The message of a start with these networks; empty if they are accepted. */
function problem(networks: string): string {
  process.env = { ...environment, GATEWAY_TRUSTED_PROXIES: networks }
  try {
    load()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

const range = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index)

t.test('trusted proxies are networks, never all of them', async (t) => {
  for (const networks of ['10.0.0.0/8', '127.0.0.1/32', '::1/128', 'fd00::/8', ' 10.0.0.0/8 , 192.168.1.0/24']) {
    t.equal(problem(networks), '', networks)
  }
  const refused = [
    '0.0.0.0/0',
    '::/0',
    'true',
    '1',
    '*',
    'all',
    'loopback',
    '10.0.0.1',
    '10.0.0.0/33',
    '::1/129',
    'a/8'
  ]
  refused.push('0.0.0.0/1', '128.0.0.0/1', '::/1', '::/8', '::ffff:0:0/96', '::ffff:0:0/95', '0::/32', 'fe80::1%lo/64')
  refused.push('10.0.0.0/8,', '10.0.0.0/8/8', '10.0.0.0/-1', '10.0.0.0/255.0.0.0', '10.0.0.0/1e1')
  for (const networks of refused) t.match(problem(networks), /^gateway\.trustedProxies: /, networks)
})

t.test('networks of proxies are no large part of all addresses, also together', async (t) => {
  for (const networks of [
    ['0.0.0.0/1', '128.0.0.0/1'],
    ['::/1', '8000::/1'],
    range(0, 256).map((first) => `${first}.0.0.0/8`),
    range(10, 5).map((first) => `${first}.0.0.0/8`),
    ['2000::/8', '2100::/8', '2200::/8'],
    ['2600::/8', '2a00::/8'],
    ['2600::/12'],
    range(2610, 17).map((first) => `${first}::/24`),
    ['::ffff:64.0.0.0/98', '::ffff:128.0.0.0/98'],
    ['::ffff:10.0.0.0/103'],
    range(0, 256).map((first) => `::ffff:${first}.0.0.0/104`)
  ]) {
    t.match(problem(networks.join()), /^gateway\.trustedProxies: /, networks.slice(0, 5).join())
  }
})

t.test('private networks and those of content delivery networks are accepted together', async (t) => {
  const privateNetworks = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '127.0.0.0/8', '::1/128']
  const localNetworks = ['fc00::/8', 'fd00::/8', 'fe80::/10', '::ffff:192.168.1.0/120']
  t.equal(problem([...privateNetworks, ...localNetworks].join()), '')
  t.equal(problem('104.16.0.0/13,2600:1400::/24,2400:cb00::/32,2606:4700::/32,2a06:98c0::/29'), '')
})
