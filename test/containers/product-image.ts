/** Builds the product's image from a checkout under umask 077, with files beside it that must not get into the image. */

import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runTool } from '../../stack/tool.ts'
import { importBaseImage } from './base-image.ts'
import type { Daemon } from './daemon.ts'

const root = join(import.meta.dirname, '..', '..')
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** The image that compose.yaml names. */
export const productImage = `auth-backend:${version}`

/** The image that the Dockerfile builds on. */
export const baseImage = /^FROM (\S+) AS base$/m.exec(readFileSync(join(root, 'Dockerfile'), 'utf8'))?.[1] as string

const checkout = [
  ...['Dockerfile', '.dockerignore', 'compose.yaml', 'compose.two.yaml', 'config.yml', 'ops', '.npmrc'],
  ...[
    'package.json',
    'package-lock.json',
    'gen',
    'common',
    'gateway',
    'user-svc',
    'session-svc',
    'log-sink',
    'log-viewer',
    'stack'
  ]
]

/** Files of a checkout that hold secrets or data; their content is searched for in the image. */
export const bait = ['.env', 'user-svc/.env.local', '.data/rpc-token', 'gateway/node_modules/bait/index.js']
export const baitContent = 'must-not-be-in-the-image'

/** A copy of the checkout as `git clone` makes it under umask 077, without secrets. */
export async function privateCheckout(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'checkout-'))
  for (const path of checkout) {
    if (existsSync(join(root, path))) cpSync(join(root, path), join(folder, path), { recursive: true })
  }
  await runTool('chmod', ['-R', 'go-rwx', folder])
  return folder
}

/** Imports the stand-in for the base image of the Dockerfile. */
export function importStandIn(daemon: Daemon, signal: AbortSignal): Promise<void> {
  return importBaseImage(daemon, baseImage, signal)
}

/** Builds the image with the Dockerfile as it is. The network of the build is the caller's own. */
export async function buildProductImage(daemon: Daemon, signal: AbortSignal): Promise<void> {
  await importStandIn(daemon, signal)
  const folder = await privateCheckout()
  try {
    for (const path of bait) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), baitContent)
    }
    await daemon.docker('build', '--network', 'host', '--tag', productImage, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
