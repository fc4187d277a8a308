/** grpcurl, with which tests call the RPC ports as a stranger would: without any file of this project. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isInstalled, runTool } from '../stack/tool.ts'

const version = 'v1.9.3'

/** Builds grpcurl into `.tools/bin` unless it is there; without Go, says that its tests are left out. */
export async function installGrpcurl(root: string, print: (line: string) => void, signal: AbortSignal): Promise<void> {
  const folder = join(root, '.tools', 'bin')
  if (existsSync(join(folder, 'grpcurl')) || (await isInstalled('grpcurl'))) return
  if (!(await isInstalled('go'))) {
    print('no Go on this machine, so no grpcurl: the tests that need it are left out')
    return
  }
  print('building grpcurl')
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-modcacherw' }
  await runTool('go', ['install', `github.com/fullstorydev/grpcurl/cmd/grpcurl@${version}`], { env, signal }).catch(
    (error) => {
      signal.throwIfAborted()
      print(`grpcurl could not be built, the tests that need it are left out: ${error.message}`)
    }
  )
}
