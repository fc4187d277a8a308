/** Tests the RPC ports with connectconformance, the test suite of the protocols Connect, gRPC and gRPC-Web. Needs Go and the Go module proxy. */

import { spawn } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { runTool } from '../../stack/tool.ts'
import type { Part, PartOptions } from './part.ts'

const root = join(import.meta.dirname, '..', '..')
const sources = join(root, 'test', 'conformance')
// The version and the checksums are in go.mod and go.sum of this folder.
const runner = join(sources, 'runner')
const tool = join(root, '.tools', 'bin', 'connectconformance')
const descriptors = join(root, '.tools', 'conformance.binpb')

export const testConformance: Part = async ({ print, signal }) => {
  const failure = await install(signal)
  if (failure !== undefined) return [{ name: 'conformance', outcome: 'skipped', details: failure }]
  const { code, last } = await run(print, signal)
  const details = `${last}; test/conformance/known-failing.txt has the cases that must fail`
  return [{ name: 'conformance', outcome: code === 0 ? 'passed' : 'failed', details }]
}

/** @returns the reason why it cannot be installed here */
async function install(signal: AbortSignal): Promise<string | undefined> {
  try {
    await runTool('go', ['mod', 'download', 'connectrpc.com/conformance'], { cwd: runner, signal })
  } catch (error) {
    signal.throwIfAborted()
    return `connectconformance cannot be installed: ${(error as Error).message}`
  }
  mkdirSync(join(root, '.tools', 'bin'), { recursive: true })
  const program = 'connectrpc.com/conformance/cmd/connectconformance'
  await runTool('go', ['build', '-trimpath', '-o', tool, program], { cwd: runner, signal })
  const module = await runTool('go', ['list', '-m', '-f', '{{.Dir}}', 'connectrpc.com/conformance'], {
    cwd: runner,
    signal
  })
  const protos = join(module.trim(), 'proto')
  await runTool('buf', ['build', protos, '--exclude-source-info', '-o', descriptors], { signal })
  if (!existsSync(descriptors)) throw new Error('buf wrote no descriptors')
  return undefined
}

async function run(print: PartOptions['print'], signal: AbortSignal) {
  const options = ['--mode', 'server', '--conf', join(sources, 'features.yaml'), '--max-servers', '2']
  const known = ['--known-failing', `@${join(sources, 'known-failing.txt')}`]
  const server = [process.execPath, join(sources, 'server.ts'), descriptors]
  const child = spawn(tool, [...options, ...known, '--', ...server], { stdio: ['ignore', 'pipe', 'inherit'], signal })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    print(line)
    if (/^\d+ passed/.test(line)) last = line
  }
  return { code: await exited, last }
}
