/** Sends bytes to a gateway, and reads its responses. */

import { connect } from 'node:net'

/** The time until the first byte on a busy machine. */
const firstByteMs = 10_000

/** Sends bytes. @returns the responses until the gateway closes the connection, or sends nothing more for `ms` */
export function sendBytes(port: number, text: string, ms = 1000): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = connect(port, '127.0.0.1', () => socket.write(text, 'latin1'))
    let timer = setTimeout(() => socket.destroy(), Math.max(ms, firstByteMs))
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      clearTimeout(timer)
      timer = setTimeout(() => socket.destroy(), ms)
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks).toString())
    })
  })
}

/** The head of a request. */
export const head = (line: string, ...fields: string[]) => `${[line, 'Host: x', ...fields].join('\r\n')}\r\n\r\n`

/** The status lines of all responses. */
export const answersIn = (text: string): string[] => text.match(/HTTP\/1\.1 \d+/g) ?? []

/** The first response. */
export function firstAnswer(text: string) {
  const [top = '', body = ''] = text.split('\r\n\r\n', 2)
  const [status = '', ...fields] = top.split('\r\n')
  const headers: Record<string, string> = {}
  for (const field of fields) {
    const [name = '', value = ''] = field.split(/: ?(.*)/)
    headers[name.toLowerCase()] = value
  }
  return { statusCode: Number(status.split(' ')[1]), headers, body }
}
