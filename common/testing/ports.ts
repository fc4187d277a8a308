/** Ports for servers that a test starts itself. */

import { connect, createServer } from 'node:net'

// The system gives ports from 32768 on to connections and to servers that ask for any port. Test files that run at a time
// (test/tap-run.ts) have a range each; files that run one after the other begin at different ports of it.
const portsPerJob = 7000
const firstPort = 11_000 + Number(process.env.TAP_JOB_ID ?? 0) * portsPerJob
let next = (process.pid * 29) % portsPerJob

/** A free port of 127.0.0.1 for this test only, so that the test can restart a server on it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = firstPort + (next++ % portsPerJob)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** Whether a port of 127.0.0.1 accepts connections. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
