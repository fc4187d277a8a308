/** Installs grpcurl, with which tests call the RPC ports like a client without the files of this project. */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isInstalled, runTool } from '../stack/tool.ts'

const version = 'v1.9.3'

/** Builds grpcurl into `.tools/bin` unless it is installed; without Go, prints that its tests are skipped. */
export async function installGrpcurl(root: string, print: (line: string) => void, signal: AbortSignal): Promise<void> {
  const folder = join(root, '.tools', 'bin')
  if (existsSync(join(folder, 'grpcurl')) || (await isInstalled('grpcurl'))) return
  if (!(await isInstalled('go'))) {
    print('the tests that need grpcurl are skipped: Go is not installed')
    return
  }
  print('building grpcurl')
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-modcacherw' }
  await runTool('go', ['install', `github.com/fullstorydev/grpcurl/cmd/grpcurl@${version}`], { env, signal }).catch(
    (error) => {
      signal.throwIfAborted()
      print(`the tests that need grpcurl are skipped: ${error.message}`)
    }
  )
}
