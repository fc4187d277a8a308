/** A stand-in for the base image of the Dockerfile: this machine's packages, Node.js and npm, the user `node`. */

import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { runTool } from '../../stack/tool.ts'
import type { Daemon } from './daemon.ts'
import { filesOfPackages } from './host-packages.ts'

/** The label with the inputs of the stand-in; a different value causes a new build. */
const label = 'made-from'
/** Debian packages in it beside the essential ones. */
export const basePackages = ['libstdc++6', 'mawk']

const settings = ['registry', 'cafile', 'proxy', 'https-proxy', 'noproxy', 'replace-registry-host']
const certificates = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE']

/** Imports the stand-in as `name`, unless the daemon has an image with the same inputs. */
export async function importBaseImage(daemon: Daemon, name: string, signal: AbortSignal): Promise<void> {
  const npm = dirname(dirname(await runTool('readlink', ['-f', (await which('npm')).trim()])))
  const settled = await npmSettings()
  const authority = certificates.map((variable) => process.env[variable]).find((path) => path && existsSync(path))
  const madeFrom = createHash('sha256')
    .update(JSON.stringify([process.version, npm, settled, authority, readFileSync(import.meta.filename, 'utf8')]))
    .digest('hex')
  if ((await labelOf(daemon, name)) === madeFrom) return
  const folder = mkdtempSync(join(tmpdir(), 'base-image-'))
  try {
    const added = join(folder, 'added')
    const put = (path: string, content: string) => {
      mkdirSync(dirname(join(added, path)), { recursive: true })
      writeFileSync(join(added, path), content)
    }
    for (const kind of ['passwd', 'group']) {
      const line = kind === 'passwd' ? 'node:x:1000:1000::/home/node:/bin/bash' : 'node:x:1000:'
      put(`etc/${kind}`, `${readFileSync(`/usr/share/base-passwd/${kind}.master`, 'utf8')}${line}\n`)
    }
    put('usr/local/etc/npmrc', settled)
    for (const path of new Set([authority, await npmValue('cafile')]))
      if (path && existsSync(path)) put(path.slice(1), readFileSync(path, 'utf8'))
    mkdirSync(join(added, 'usr/local/bin'), { recursive: true })
    mkdirSync(join(added, 'tmp'), { recursive: true })
    mkdirSync(join(added, 'home/node'), { recursive: true })
    cpSync(process.execPath, join(added, 'usr/local/bin/node'))
    cpSync(npm, join(added, 'usr/local/lib/node_modules/npm'), { recursive: true, dereference: true })
    writeFileSync(join(folder, 'list'), (await filesOfPackages(basePackages, signal)).join('\n'))
    const links = 'ln -sf ../lib/node_modules/npm/bin/npm-cli.js "$1/usr/local/bin/npm" && chmod 1777 "$1/tmp"'
    const awk = 'mkdir -p "$1/usr/bin" && ln -sf mawk "$1/usr/bin/awk"'
    await runTool('sh', ['-c', `${links} && ${awk}`, 'sh', added])
    const tar = join(folder, 'base.tar')
    // No directory of the clone's umask: files of the packages come with their own modes, added ones are readable by all.
    await runTool('chmod', ['-R', 'a+rX', added])
    await runTool('tar', ['-C', '/', '-c', '-f', tar, '--no-recursion', '-P', '-T', join(folder, 'list')], { signal })
    await runTool('tar', ['-C', added, '-r', '-f', tar, '--owner=0', '--group=0', '.'], { signal })
    const changes = [
      `LABEL ${label}=${madeFrom}`,
      'CMD ["node"]',
      'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      ...(authority ? certificates.map((variable) => `ENV ${variable}=${authority}`) : [])
    ].flatMap((change) => ['--change', change])
    await daemon.docker('import', ...changes, tar, name)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function which(command: string): Promise<string> {
  return runTool('sh', ['-c', 'command -v "$1"', 'sh', command])
}

async function npmSettings(): Promise<string> {
  const values = await Promise.all(settings.map(async (key) => [key, await npmValue(key)]))
  return values.flatMap(([key, value]) => (value ? [`${key}=${value}\n`] : [])).join('')
}

/** npm's own setting in this environment; the project's .npmrc is in the build anyway. */
async function npmValue(key: string): Promise<string> {
  const value = (await runTool('npm', ['config', 'get', key], { cwd: '/' })).trim()
  return value === 'null' || value === 'undefined' ? '' : value
}

/** The label of an image; empty if no image has the name. */
async function labelOf(daemon: Daemon, image: string): Promise<string> {
  const format = `{{index .Config.Labels "${label}"}}`
  return (await daemon.docker('image', 'inspect', '--format', format, image).catch(() => '')).trim()
}
