/** A checkout with its own secrets, in which tests run Docker Compose by the documented commands. */

import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { parse as parseYaml, stringify } from 'yaml'
import { runTool } from '../../stack/tool.ts'
import type { Answer } from '../support/product.ts'
import { type Daemon, outputOf } from './daemon.ts'
import { privateCheckout } from './product-image.ts'

// Those that the command in ops/env.example generates: tokens and passwords, then keys.
const [secrets = [], keys = []] = [...readFileSync('ops/env.example', 'utf8').matchAll(/for name in ([A-Z_ ]+);/g)].map(
  ([, names = '']) => names.split(' ')
)

const secretLines = () =>
  [
    ...secrets.map((name) => `${name}=${randomBytes(32).toString('hex')}\n`),
    ...keys.map((name) => `${name}=a:${randomBytes(32).toString('base64')}\n`)
  ].join('')

// Room for a busy machine, and for tests of many requests from one address.
const patient = {
  gateway: {
    rateLimit: { enabled: false },
    budgets: { session: '20s', logout: '20s', delete: '20s', reg: '20s', auth: '20s' }
  },
  userSvc: { password: { cost: 10 }, postgres: { queryTimeout: '15s' } }
}

/** One container, as `docker inspect` describes it. */
interface Container {
  Id: string
  Name: string
  Image: string
  RestartCount: number
  State: { Pid: number; StartedAt: string; Health?: { Status: string } }
  Config: { User: string; Labels: Record<string, string> }
  HostConfig: {
    ReadonlyRootfs: boolean
    CapDrop: string[]
    SecurityOpt: string[]
    PidsLimit: number
    Privileged: boolean
    Tmpfs?: Record<string, string>
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]>
  }
  Mounts: { Type: string; RW: boolean; Destination: string }[]
}

/** Builds the image with Docker Compose; the build has the network of the daemon, which has no other. */
export async function composeBuild(daemon: Daemon): Promise<void> {
  const folder = await privateCheckout()
  try {
    writeFileSync(join(folder, '.env'), secretLines(), { mode: 0o600 })
    writeFileSync(join(folder, 'host.yaml'), 'services: {migrate: {build: {network: host}}}\n')
    const args = ['compose', '-f', 'compose.yaml', '-f', 'host.yaml', 'build']
    await runTool('docker', args, { cwd: folder, env: daemon.environment }).catch((error) => {
      throw new Error(`docker compose build failed:\n${outputOf(error)}`)
    })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Makes a checkout under umask 077, opens the files that containers read by the commands of docs/operate/deploy.md, and runs Compose in it. */
export async function composeCheckout(t: Pick<Test, 'teardown'>, daemon: Daemon) {
  const folder = await privateCheckout()
  writeFileSync(join(folder, '.env'), `${secretLines()}PUBLISH_PORT=18080\n`, { mode: 0o600 })
  const config = parseYaml(readFileSync(join(folder, 'config.yml'), 'utf8'))
  const merged = { ...config, ...patient, gateway: { ...config.gateway, ...patient.gateway } }
  writeFileSync(join(folder, 'config.yml'), stringify(merged))

  /** Runs a script of the documentation in the checkout. */
  const shell = (script: string) =>
    runTool('sh', ['-c', script], { cwd: folder, env: daemon.environment }).catch((error) => {
      throw new Error(`${script}\n${outputOf(error)}`)
    })
  const compose = (args: string) => shell(`docker compose ${args}`)
  // The volumes of a killed run have other passwords.
  await compose('down --volumes --remove-orphans')
  t.teardown(async () => {
    await compose('down --volumes --remove-orphans').catch(() => '')
    rmSync(folder, { recursive: true, force: true })
  })
  await shell(documented('deploy.md', 'Permissions'))

  async function call(method: string, path: string, options: { token?: string; json?: unknown } = {}): Promise<Answer> {
    const headers: Record<string, string> = {
      ...(options.token && { authorization: `Bearer ${options.token}` }),
      ...(options.json !== undefined && { 'content-type': 'application/json' })
    }
    const body = options.json === undefined ? null : JSON.stringify(options.json)
    const init = { method, headers, body, signal: AbortSignal.timeout(30_000) }
    const response = await fetch(`http://127.0.0.1:18080${path}`, init)
    const text = await response.text()
    const isJson = /json/.test(response.headers.get('content-type') ?? '')
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
  }

  /** The running containers, by the names of their services. */
  async function containers(): Promise<Map<string, Container>> {
    const ids = (await compose('ps --quiet')).split('\n').filter(Boolean)
    const found = JSON.parse(await daemon.docker('inspect', ...ids)) as Container[]
    return new Map(found.map((each) => [each.Config.Labels['com.docker.compose.service'] as string, each]))
  }

  return { shell, compose, call, containers }
}

/** The commands that a page of docs/operate/ gives under a heading. */
export function documented(page: string, heading: string): string {
  const file = `docs/operate/${page}`
  const section = readFileSync(file, 'utf8').split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
  const script = /```sh[^\n]*\n([^`]+)```/.exec(section)?.[1]
  if (script === undefined) throw new Error(`${file} has no commands under ${heading}`)
  return script
}
