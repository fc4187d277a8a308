/** A mail server that a test starts, kills and freezes. It keeps every email that it has accepted. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort, listens } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'

export type MailServer = Awaited<ReturnType<typeof createMailServer>>

/** The settings of user-svc for a mail server at a port of this machine. Its own tests cover TLS. */
export const mailSettings = (port: number): Record<string, string> => ({
  MAIL_URL: `smtp://127.0.0.1:${port}`,
  MAIL_REQUIRE_TLS: 'false',
  MAIL_FROM: 'accounts@example.org',
  MAIL_KEYS: `test:${randomBytes(32).toString('base64')}`,
  MAIL_LINKS_VERIFY: 'https://app.example.org/verify#{token}',
  MAIL_LINKS_RESET: 'https://app.example.org/reset#{token}'
})

/** The links of `mailSettings`, with the token. */
export const links = { verify: /\/verify#([\w-]+)/, reset: /\/reset#([\w-]+)/ }

/** An accepted email. */
interface Accepted {
  to: string[]
  /** As sent, with headers. */
  source: string
}

export async function createMailServer(t: Pick<Test, 'teardown'>) {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'mail-'))
  const file = join(directory, 'accepted.jsonl')
  writeFileSync(file, '')
  let child: ChildProcess | undefined

  async function kill(): Promise<void> {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }

  t.teardown(async () => {
    await kill()
    rmSync(directory, { recursive: true, force: true })
  })

  const accepted = () =>
    readFileSync(file, 'utf8')
      .split('\n')
      // The server may be writing the last line.
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Accepted)

  /** The emails to an address, the oldest first, with their quoted-printable encoding removed. */
  const textsTo = (address: string) =>
    accepted()
      .filter(({ to }) => to.includes(address))
      .map(({ source }) => source.replaceAll('=\r\n', '').replaceAll('=3D', '='))

  return {
    port,
    /** Resolves to its address when it answers. */
    async start(): Promise<string> {
      child = spawn(process.execPath, [join(import.meta.dirname, 'mail-server-process.ts'), String(port), file], {
        stdio: 'ignore'
      })
      await until('the mail server listens', () => listens(port), 30_000)
      return `smtp://127.0.0.1:${port}`
    },
    kill,
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    /** Its accepted emails have left the server. */
    empty: () => {},
    accepted,
    textsTo,

    /** The token of the newest email with this link to an address, as soon as there are `count` of them. */
    async tokenTo(address: string, link: keyof typeof links, count = 1): Promise<string> {
      const tokens = () => textsTo(address).flatMap((text) => links[link].exec(text)?.[1] ?? [])
      await until(`${count} emails with a link ${link} have arrived`, () => tokens().length >= count, 30_000)
      return String(tokens().at(-1))
    }
  }
}
