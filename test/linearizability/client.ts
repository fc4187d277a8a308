/** Sends requests to one of several gateways, over connections that stay open, each for a client of another network. */

import { Agent, request } from 'node:http'

const timeoutMs = 30_000

export interface Reply {
  /** 0: there was no response, and the outcome is unknown. -1: the request was not sent. */
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: bodies have many shapes
  body: any
}

interface Content {
  token?: string | undefined
  json?: unknown
}

export type Send = (method: string, path: string, content?: Content) => Promise<Reply>

export function createClient(ports: number[], random: () => number) {
  const agent = new Agent({ keepAlive: true })
  let requests = 0

  const send: Send = (method, path, { token, json } = {}) => {
    const port = ports[Math.floor(random() * ports.length)] ?? 0
    const headers = {
      'x-forwarded-for': networkAddress(++requests),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(json !== undefined && { 'content-type': 'application/json' })
    }
    return new Promise((resolve) => {
      const options = { host: '127.0.0.1', port, method, path, headers, agent, timeout: timeoutMs }
      const sent = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk) => chunks.push(chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: parsed(Buffer.concat(chunks)) }))
        response.on('error', () => resolve({ status: 0, body: undefined }))
      })
      sent.on('timeout', () => sent.destroy())
      sent.on('error', (error: NodeJS.ErrnoException) => {
        resolve({ status: error.code === 'ECONNREFUSED' ? -1 : 0, body: undefined })
      })
      sent.end(json === undefined ? undefined : JSON.stringify(json))
    })
  }
  return { send, close: () => agent.destroy() }
}

/** An address of 16.0.0.0/5. */
function networkAddress(number: number): string {
  return [16 + ((number >> 24) & 7), (number >> 16) & 255, (number >> 8) & 255, number & 255].join('.')
}

function parsed(bytes: Buffer): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(bytes.toString())
}
