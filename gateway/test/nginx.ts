/** Runs a real nginx, with the configuration of the documentation, before a gateway and an application. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'

/** Whether nginx is installed. */
export const hasNginx = spawnSync('nginx', ['-v'], { stdio: 'ignore' }).status === 0

/** The nginx block of docs/guides/protect-an-app.md. */
function sample(): string {
  const page = readFileSync(new URL('../../docs/guides/protect-an-app.md', import.meta.url), 'utf8')
  const blocks = [...page.matchAll(/```nginx\n([\s\S]*?)```/g)].map(([, block]) => block as string)
  if (blocks.length !== 1) throw new Error(`protect-an-app.md has ${blocks.length} nginx blocks, must have one`)
  return blocks[0] as string
}

/** @throws Error if the sample lacks the address */
function replaced(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`the sample lacks "${from}"`)
  return text.replaceAll(from, to)
}

/** The application behind nginx: it answers 200 and records its requests. */
async function serveApplication(t: Test) {
  const requests: IncomingMessage[] = []
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => {
    requests.push(request)
    request.resume().once('end', () => response.end('application'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { requests, port: (server.address() as { port: number }).port }
}

/** Starts nginx with the sample, whose three addresses are replaced; stops it when the test ends. */
export async function serveNginx(t: Test, gatewayPort: number) {
  const application = await serveApplication(t)
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  let server = replaced(sample(), 'listen 80;', `listen 127.0.0.1:${port};`)
  server = replaced(server, '127.0.0.1:8080', `127.0.0.1:${gatewayPort}`)
  server = replaced(server, '127.0.0.1:3001', `127.0.0.1:${application.port}`)
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder};`)
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    [
      'daemon off; master_process off; pid nginx.pid; error_log stderr;',
      `events {} http { access_log off; ${temporary.join(' ')} ${server} }`
    ].join('\n')
  )
  const child: ChildProcess = spawn('nginx', ['-p', folder, '-c', file], { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr?.on('data', (chunk) => {
    output += chunk
  })
  t.teardown(async () => {
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await exited
    rmSync(folder, { recursive: true, force: true })
  })
  const isStarted = () => {
    if (child.exitCode !== null) throw new Error(`nginx did not start: ${output}`)
    return isOpen(port)
  }
  await until('nginx is started', isStarted)
  return { port, requests: application.requests }
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Sends a request from a local address. @returns the response */
export function sendFrom(localAddress: string, port: number, lines: string[], body = ''): Promise<string> {
  return new Promise((resolve, reject) => {
    const text = `${[...lines, 'Host: app.example.org', 'Connection: close'].join('\r\n')}\r\n\r\n${body}`
    const socket = connect({ port, host: '127.0.0.1', localAddress }, () => socket.write(text))
    let answer = ''
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer within 20 s')))
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}
