/** Sends an attack over connections, and checks the server meanwhile: alive, bounded memory, other clients served. */

import { readFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import type { Attack } from './http2-attacks.ts'

const maxSendMs = 3000
const holdMs = 300
const servedWithinMs = 10_000

export interface Target {
  port: number
  tls: boolean
  /** The path of a request that needs no credential, and the status of its response. */
  path: string
  status: number
  pid: number
  connections: number
  count: number
}

export interface Outcome {
  /** Responses to another client during and after the attack. */
  served: number
  notServed: number
  grewBytes: number
  alive: boolean
}

export async function runAttack(attack: Attack, target: Target): Promise<Outcome> {
  const before = residentBytes(target.pid)
  const sockets = Array.from({ length: target.connections }, () => open(target))
  for (const socket of sockets)
    socket
      .setMaxListeners(0)
      .on('error', () => {})
      .pause()
  let ended = false
  const attacked = Promise.all(sockets.map((socket) => send(socket, attack(target.path, target.count)))).then(() => {
    ended = true
  })
  const calls: boolean[] = []
  do {
    calls.push(await isServed(target))
    await sleep(50)
  } while (!ended)
  await attacked
  await sleep(holdMs)
  // The connections are still open, and their responses unread.
  calls.push(await isServed(target))
  const grewBytes = residentBytes(target.pid) - before
  for (const socket of sockets) socket.destroy()
  calls.push(await isServed(target))
  const served = calls.filter(Boolean).length
  return { served, notServed: calls.length - served, grewBytes, alive: residentBytes(target.pid) > 0 }
}

function open({ port, tls }: Target): Socket {
  const address = { port, host: '127.0.0.1' }
  return tls ? connectTls({ ...address, rejectUnauthorized: false, ALPNProtocols: ['h2'] }) : connect(address)
}

/** Sends as much as the server takes, within a time: a server that stops reading is right. */
async function send(socket: Socket, parts: Generator<Buffer>): Promise<void> {
  const endsAt = performance.now() + maxSendMs
  for (const part of parts) {
    if (socket.destroyed || performance.now() > endsAt) return
    if (socket.write(part)) continue
    const drained = new Promise((resolve) => socket.once('drain', resolve).once('close', resolve))
    await Promise.race([drained, sleep(Math.max(0, endsAt - performance.now()), undefined, { ref: false })])
  }
}

/** A call of another client, over a connection of its own. */
export function isServed({ port, tls, path, status }: Target): Promise<boolean> {
  const session = connectHttp2(`${tls ? 'https' : 'http'}://127.0.0.1:${port}`, { rejectUnauthorized: false })
  return new Promise<boolean>((resolve) => {
    const timer = setTimeout(() => resolve(false), servedWithinMs)
    session.on('error', () => resolve(false))
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' })
    stream.on('response', (headers) => resolve(headers[':status'] === status)).on('error', () => resolve(false))
    stream.on('close', () => clearTimeout(timer)).resume()
    stream.end('{}')
  }).finally(() => session.destroy())
}

/** @returns 0 if the process has ended */
function residentBytes(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}
