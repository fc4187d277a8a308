/**
 * An SMTP server as a process, so that a test can kill and freeze it. Arguments: the port, and the file that gets a line
 * of JSON for each accepted email.
 */

import { appendFileSync } from 'node:fs'
import { SMTPServer } from 'smtp-server'

const [, , port, file = ''] = process.argv
const server = new SMTPServer({
  disabledCommands: ['STARTTLS', 'AUTH'],
  logger: false,
  onData(stream, session, callback) {
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => void chunks.push(chunk))
    stream.once('end', () => {
      const to = session.envelope.rcptTo.map(({ address }) => address)
      appendFileSync(file, `${JSON.stringify({ to, source: Buffer.concat(chunks).toString('utf8') })}\n`)
      callback()
    })
  }
})
// A client that a fault test disconnects.
server.on('error', () => {})
server.listen(Number(port), '127.0.0.1')
