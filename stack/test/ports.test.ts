/** Ports are checked before anything starts, and what is wrong is one line. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { findPorts, PortError } from '../ports.ts'

const host = '127.0.0.1'

t.test('free ports are found, and free again afterwards', async (t) => {
  const first = await findPorts([
    { key: 'a', host, port: 0 },
    { key: 'b', host, port: 0 }
  ])
  const [a, b] = [first.get('a') as number, first.get('b') as number]
  t.not(a, b)
  t.same([...(await findPorts([{ key: 'c', host, port: a }]))], [['c', a]])
})

t.test('a taken port names its key and who has it, and holds no other', async (t) => {
  const server = createServer().listen(0, host)
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const { a: free } = Object.fromEntries(await findPorts([{ key: 'a', host, port: 0 }]))
  const wanted = [
    { key: 'a', host, port: free as number },
    { key: 'b', host, port }
  ]
  await t.rejects(findPorts(wanted), {
    message: new RegExp(`^b: port ${port} is taken by .+ \\(process ${process.pid}\\)$`)
  })
  t.equal((await findPorts(wanted.slice(0, 1))).get('a'), free)
})

t.test('two keys cannot share a port', async (t) => {
  const { a: port } = Object.fromEntries(await findPorts([{ key: 'a', host, port: 0 }])) as { a: number }
  const twins = [
    { key: 'a', host, port },
    { key: 'b', host, port }
  ]
  await t.rejects(findPorts(twins), new PortError(`b: port ${port} is also the value of a`))
})

t.test('a port that may be any later one gives way to those that are given, and to those that are taken', async (t) => {
  const { a: port } = Object.fromEntries(await findPorts([{ key: 'a', host, port: 0 }])) as { a: number }
  const ports = await findPorts([
    { key: 'second', host, port, orNext: true },
    { key: 'third', host, port, orNext: true },
    { key: 'first', host, port }
  ])
  t.equal(ports.get('first'), port)
  t.ok((ports.get('second') as number) > port)
  t.ok((ports.get('third') as number) > (ports.get('second') as number))
})

t.test('an address that is not of this machine is said', async (t) => {
  await t.rejects(findPorts([{ key: 'gateway.port', host: '192.0.2.1', port: 0 }]), {
    message: 'gateway.port: port 0 cannot be listened on at 192.0.2.1: EADDRNOTAVAIL'
  })
})
