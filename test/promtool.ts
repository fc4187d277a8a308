/** Finds promtool, which checks Prometheus's files, or unpacks it from the distribution's package. */

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

const folder = join(import.meta.dirname, '..', '.tools', 'prometheus')
const unpacked = join(folder, 'usr', 'bin', 'promtool')

const works = (command: string) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0

/**
 * The path of promtool: from `PATH`, or from `.tools/`, into which it is unpacked on Debian and Ubuntu.
 * An installed package would start a Prometheus server.
 *
 * @returns undefined if promtool is not available
 */
export function findPromtool(): string | undefined {
  if (works('promtool')) return 'promtool'
  if (existsSync(unpacked) || download()) return unpacked
  return undefined
}

function download(): boolean {
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: folder, stdio: 'ignore', timeout: 120_000 })
  try {
    mkdirSync(folder, { recursive: true })
    try {
      run('apt-get', 'download', 'prometheus')
    } catch (error) {
      if (process.getuid?.() !== 0 || (error as NodeJS.ErrnoException).code === 'ENOENT') return false
      run('apt-get', 'update')
      run('apt-get', 'download', 'prometheus')
    }
    run('sh', '-c', 'dpkg-deb --fsys-tarfile *.deb | tar -x ./usr/bin/promtool && rm *.deb')
    return works(unpacked)
  } catch {
    return false
  }
}
