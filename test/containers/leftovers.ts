/** Removes what a killed run of the tests has left of its Docker daemon: processes, containers and mounts. */

import { globSync, readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive } from '#common/process/process-identity.ts'
import { runTool } from '../../stack/tool.ts'

const endMs = 15_000

/**
 * Ends every process of the daemon whose files are in `runDir`, and all processes in its containers.
 *
 * @param cgroupParent the control group under which the daemon puts its containers
 */
export async function removeLeftovers(runDir: string, dataRoot: string, cgroupParent: string): Promise<void> {
  await end(daemonProcesses(runDir), 'SIGTERM')
  await end([...daemonProcesses(runDir), ...containedProcesses(cgroupParent)], 'SIGKILL')
  for (const path of mountsBelow([runDir, dataRoot])) await runTool('umount', ['--lazy', path]).catch(() => '')
  rmSync(runDir, { recursive: true, force: true })
}

/** dockerd, containerd and its shims: all of them have the folder on their command lines. */
function daemonProcesses(runDir: string): number[] {
  return globSync('/proc/[0-9]*/cmdline')
    .filter((file) => {
      const [command = '', ...args] = read(file).split('\0')
      return /(^|\/)(dockerd|containerd|containerd-shim[\w-]*)$/.test(command) && args.join(' ').includes(`${runDir}/`)
    })
    .map((file) => Number(file.split('/')[2]))
}

function containedProcesses(cgroupParent: string): number[] {
  return globSync(`/sys/fs/cgroup/{.,pids,unified}/${cgroupParent}/**/cgroup.procs`).flatMap((file) =>
    read(file).trim().split('\n').filter(Boolean).map(Number)
  )
}

async function end(pids: number[], signal: NodeJS.Signals): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It has ended by itself.
    }
  }
  const giveUpAt = Date.now() + endMs
  while (pids.some(isAlive) && Date.now() < giveUpAt) await sleep(50)
}

function mountsBelow(folders: string[]): string[] {
  const points = read('/proc/self/mounts')
    .split('\n')
    .flatMap((line) => line.split(' ')[1] ?? [])
  // The last mount is unmounted first.
  return points.filter((point) => folders.some((folder) => point.startsWith(`${folder}/`))).reverse()
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
