/** compose.yaml for the tests that compare it with the code. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import type { Key } from '#common/config/keys.ts'
import { environmentName, forEachKey, type Schema } from '#common/config/load.ts'
import { schema as whole } from '../../stack/config.ts'

export interface ComposeService {
  image: string
  build?: string
  extends?: { file: string; service: string }
  command?: string[]
  environment?: Record<string, string | number>
  depends_on?: Record<string, { condition: string }>
  ports?: { target: number; host_ip: string }[]
  networks: string[]
  healthcheck?: { test: string[]; interval: string; start_period: string }
  profiles?: string[]
  volumes?: string[]
  tmpfs?: string[]
  restart?: string
  stop_grace_period?: string
  init?: string
  user?: string
  cap_drop?: string[]
  read_only?: boolean
  security_opt?: string[]
  logging?: { driver: string }
  mem_limit?: string
  pids_limit?: number
  cpu_shares?: number
  pull_policy?: string
}

export interface Compose {
  services: Record<string, ComposeService>
  networks: Record<string, { internal?: boolean; ipam?: { config: { subnet: string }[] } } | null>
  volumes: Record<string, null>
}

export const root = join(import.meta.dirname, '..', '..')
export const read = (file: string) => readFileSync(join(root, file), 'utf8')
export const compose = parseYaml(read('compose.yaml'), { merge: true }) as Compose
/** compose.two.yaml; `!reset` replaces a list of compose.yaml. */
export const two = parseYaml(read('compose.two.yaml'), {
  merge: true,
  customTags: [{ tag: '!reset', collection: 'seq' }]
}) as Compose
export const services = Object.entries(compose.services)
export const ourImage = compose.services.gateway?.image
/** The services that run the product's image. */
export const ours = services.filter(([, { image }]) => image === ourImage)

/** The services that end when their work is done. */
export const jobs: ReadonlySet<string> = new Set(['kafka-access', 'migrate', 'postgres-roles'])

const sampleKey = `a:${Buffer.alloc(32, 'sample of a key').toString('base64')}`

/** Replaces `${NAME:?message}` by the value of `.env` or a sample, `${NAME:-default}` and `${NAME:+text}`, as Compose does. */
export function interpolate(value: string | number, variables: Record<string, string> = {}): string {
  const sample = (name: string) => (name.endsWith('_KEYS') ? sampleKey : 'dummy')
  return String(value)
    .replaceAll(/\$\{(\w+):\?[^}]*\}/g, (_, name: string) => variables[name] ?? sample(name))
    .replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name: string, text: string) => variables[name] || text)
    .replaceAll(/\$\{(\w+):\+([^}]*)\}/g, (_, name: string, text: string) => (variables[name] ? text : ''))
}

/** The keys of a schema by their environment variable. */
export function keysByName(schema: Schema): Map<string, { path: string; key: Key<unknown> }> {
  const keys = new Map<string, { path: string; key: Key<unknown> }>()
  forEachKey(schema, (path, key) => keys.set(environmentName(path), { path, key }))
  return keys
}

export const allKeys = keysByName(whole)
