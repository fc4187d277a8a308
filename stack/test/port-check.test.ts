/** Ports are checked before the first process starts; errors are one line. */

import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { findPorts, PortError } from '../port-check.ts'

const host = '127.0.0.1'

t.test('finds free ports and releases them', async (t) => {
  const first = await findPorts([
    { key: 'a', host, port: 0 },
    { key: 'b', host, port: 0 }
  ])
  const [a, b] = [first.get('a') as number, first.get('b') as number]
  t.not(a, b)
  t.same([...(await findPorts([{ key: 'c', host, port: a }]))], [['c', a]])
})

t.test('names the key and the process of a port in use, and releases the other ports', async (t) => {
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
    message: new RegExp(`^b: port ${port} is in use by .+ \\(process ${process.pid}\\)$`)
  })
  t.equal((await findPorts(wanted.slice(0, 1))).get('a'), free)
})

t.test('rejects two keys with the same port', async (t) => {
  const { a: port } = Object.fromEntries(await findPorts([{ key: 'a', host, port: 0 }])) as { a: number }
  const twins = [
    { key: 'a', host, port },
    { key: 'b', host, port }
  ]
  await t.rejects(findPorts(twins), new PortError(`b: port ${port} is also the value of a`))
})

t.test('chooses the next port that is neither fixed nor in use', async (t) => {
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

t.test('reports an address of another machine', async (t) => {
  await t.rejects(findPorts([{ key: 'gateway.port', host: '192.0.2.1', port: 0 }]), {
    message: 'gateway.port: cannot listen on port 0 of 192.0.2.1: EADDRNOTAVAIL'
  })
})
