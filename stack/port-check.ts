/** Checks that every port is free before the first process starts, and chooses the ports that are not fixed. */

import { createServer, type Server } from 'node:net'
import { listenerOf } from './process-table.ts'

/** A port that a process will listen on. */
export interface WantedPort {
  /** Its configuration key. */
  key: string
  host: string
  /** 0: any free port. */
  port: number
  /** Whether the next free port replaces a port that is in use. */
  orNext?: boolean
}

/** A port cannot be used; the message is one line. */
export class PortError extends Error {
  override name = 'PortError'
}

/**
 * The ports by their key. All of them were free a moment ago.
 *
 * @throws {PortError} that names the key, the port and, on Linux, the process that uses it
 */
export async function findPorts(wanted: readonly WantedPort[]): Promise<Map<string, number>> {
  const held = new Map<string, Server>()
  const ports = new Map<string, number>()
  try {
    // Fixed ports first.
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
    if (code !== 'EADDRINUSE') throw new PortError(`${key}: cannot listen on port ${port} of ${host}: ${code}`)
    const user = twin ? `is also the value of ${twin}` : `is in use${by(listenerOf(port))}`
    throw new PortError(`${key}: port ${port} ${user}`)
  }
}

function listen(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen({ host, port }, () => resolve(server))
  })
}

function by(listener: string | undefined): string {
  return listener ? ` by ${listener}` : ''
}
