/** The limit of accepted connections: it keeps file descriptors free for ops port, engines and disk buffer. */

import type { Server, Socket } from 'node:net'

// For ops connections (ops-server.ts), engines, other services, the log's segments and its connections to Kafka.
const reservedDescriptors = 192
const leastConnections = 16

/** The limit of descriptors of this process; Node.js has raised the soft one to the hard one at its start. */
function descriptorLimit(): number {
  // The report would resolve the names of all peers.
  Object.assign(process.report, { excludeNetwork: true })
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft: number | string } } }
  return Number(userLimits?.open_files?.soft) || Number.POSITIVE_INFINITY
}

/** `wanted` connections, or fewer, so that the reserved descriptors stay free. */
export function affordableConnections(wanted: number, descriptors = descriptorLimit()): number {
  return Math.max(leastConnections, Math.min(wanted, descriptors - reservedDescriptors))
}

/** Rejects connections above a maximum, on every address of a server (`maxConnections` counts each address apart). */
export function boundConnections(server: Pick<Server, 'on'>, max: number): void {
  let open = 0
  server.on('connection', (socket: Socket) => {
    open += 1
    socket.once('close', () => {
      open -= 1
    })
    if (open > max) socket.destroy()
  })
}
