/** Makes sure, before anything is started, that every port is free, and chooses those that are left to choose. */

import { createServer, type Server } from 'node:net'
import { listenerOf } from './process-table.ts'

/** A port that something is going to listen on; `key` is its configuration key, port 0 means any free one. */
export interface WantedPort {
  key: string
  host: string
  port: number
  /** Takes the next free one instead of a port that is taken. */
  orNext?: boolean
}

/** Why the ports cannot be had; its message is one line. */
export class PortError extends Error {
  override name = 'PortError'
}

/**
 * The ports by their key, all of them free a moment ago.
 *
 * @throws {PortError} naming the key, the port, and who has it where that can be known.
 */
export async function findPorts(wanted: readonly WantedPort[]): Promise<Map<string, number>> {
  const held = new Map<string, Server>()
  const ports = new Map<string, number>()
  try {
    // Those that are to be found give way to those that are given.
    for (const want of [...wanted.filter(({ orNext }) => !orNext), ...wanted.filter(({ orNext }) => orNext)]) {
      const server = await hold(want, ports)
      held.set(want.key, server)
      ports.set(want.key, (server.address() as { port: number }).port)
    }
    return ports
  } finally {
    await Promise.all([...held.values()].map((server) => new Promise((resolve) => server.close(resolve))))
  }
}

/** One free port on the loopback address. */
export async function findFreePort(): Promise<number> {
  return (await findPorts([{ key: 'any', host: '127.0.0.1', port: 0 }])).get('any') as number
}

async function hold(want: WantedPort, ports: ReadonlyMap<string, number>): Promise<Server> {
  const { key, host, port, orNext } = want
  try {
    return await listen(host, port)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (orNext && code === 'EADDRINUSE' && port < 65_535) return hold({ ...want, port: port + 1 }, ports)
    const twin = [...ports].find(([, other]) => other === port)?.[0]
    const owner = twin ? `also the value of ${twin}` : `taken${by(listenerOf(port))}`
    const reason = code === 'EADDRINUSE' ? `is ${owner}` : `cannot be listened on at ${host}: ${code}`
    throw new PortError(`${key}: port ${port} ${reason}`)
  }
}

function listen(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port }, () => resolve(server))
  })
}

function by(owner: string | undefined): string {
  return owner ? ` by ${owner}` : ''
}
