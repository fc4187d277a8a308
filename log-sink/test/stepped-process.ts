/**
 * Simulated processes whose file operations a test performs one at a time. At each operation the process can be frozen,
 * or killed before it, in the middle of a write, or after it. Files are real. A sync does nothing: the content that a
 * killed process has written stays in the memory of the operating system.
 *
 * The functions of node:fs/promises are replaced while the code under test runs.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import fs, { type Dirent, type PathLike } from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename } from 'node:path'
import stream from 'node:stream/promises'
import { gzipSync } from 'node:zlib'

/** An operation for which a process waits. */
interface Point {
  at: string
  /** Performs the operation; `settle` hands its result to the process. */
  perform(): { settle: () => void }
  /** Performs a part of a write; missing if the operation is atomic. */
  performPart: ((below: (limit: number) => number) => void) | undefined
}

/** A simulated process. */
export interface SteppedProcess {
  points: Point[]
  /** Runs code of the process. */
  run<T>(code: () => T): T
  /** Waits at a point without a file operation. */
  wait(at: string): Promise<void>
  /** Ends the process: its operations stay pending, and its files are closed. */
  kill(): void
}

interface Running extends SteppedProcess {
  descriptors: Set<number>
  operate<T>(at: string, perform: () => T, performPart?: Point['performPart']): Promise<T>
}

const running = new AsyncLocalStorage<Running>()

export function createProcess(): SteppedProcess {
  let killed = false
  const created: Running = {
    points: [],
    descriptors: new Set(),
    run: (code) => running.run(created, code),
    wait: (at) => created.operate(at, () => {}),
    operate(at, perform, performPart) {
      return new Promise((resolve, reject) => {
        if (!killed) created.points.push({ at, performPart, perform: () => outcome(perform, resolve, reject) })
      })
    },
    kill() {
      killed = true
      created.points = []
      for (const descriptor of created.descriptors) fs.closeSync(descriptor)
      created.descriptors.clear()
    }
  }
  return created
}

function outcome<T>(perform: () => T, resolve: (value: T) => void, reject: (error: unknown) => void) {
  try {
    const value = perform()
    return { settle: () => resolve(value) }
  } catch (error) {
    return { settle: () => reject(error) }
  }
}

/** Resolves when all code waits at its next point. */
export function allWait(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** The name of a file or folder without its time or number. */
const kindOf = (path: string) => basename(path).replace(/-\d.*?(?=\.ndjson|$)/, '')

/** The methods of a file handle that the code under test uses. */
function handleOf(process: Running, descriptor: number, path: string) {
  const { operate } = process
  const kind = kindOf(path)
  return {
    writev(parts: Buffer[], at: number) {
      const write = (bytes: Buffer) => fs.writeSync(descriptor, bytes, 0, bytes.length, at)
      const all = Buffer.concat(parts)
      return operate(
        `write ${kind}`,
        () => ({ bytesWritten: write(all) }),
        (below) => void write(all.subarray(0, below(all.length)))
      )
    },
    writeFile(text: string) {
      const write = (part: string) => fs.writeFileSync(descriptor, part)
      return operate(
        `write ${kind}`,
        () => write(text),
        (below) => write(text.slice(0, below(text.length)))
      )
    },
    truncate: (bytes: number) => operate(`truncate ${kind}`, () => fs.ftruncateSync(descriptor, bytes)),
    datasync: () => operate(`sync ${kind}`, () => {}),
    sync: () => operate(`sync ${kind}`, () => {}),
    close: () =>
      operate(`close ${kind}`, () => {
        process.descriptors.delete(descriptor)
        fs.closeSync(descriptor)
      })
  }
}

// A reproducible order.
const nameOf = (entry: string | Dirent) => (typeof entry === 'string' ? entry : `${entry.parentPath}/${entry.name}`)
const sorted = <E extends string | Dirent>(entries: E[]) => entries.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))

type Replacement = (process: Running, ...args: never[]) => unknown

const replacements: Record<string, Replacement> = {
  open: (process, path: string, flags: string, mode?: number) =>
    process.operate(`open ${kindOf(path)}`, () => {
      const descriptor = fs.openSync(path, flags, mode)
      process.descriptors.add(descriptor)
      return handleOf(process, descriptor, path)
    }),
  writeFile: ({ operate }, path: string, text: string, options: object) =>
    operate(
      `write ${kindOf(path)}`,
      () => fs.writeFileSync(path, text, options),
      (below) => fs.writeFileSync(path, text.slice(0, below(text.length)), options)
    ),
  rename: ({ operate }, from: string, to: string) => operate(`rename ${kindOf(from)}`, () => fs.renameSync(from, to)),
  rm: ({ operate }, path: string, options?: object) =>
    operate(`remove ${kindOf(path)}`, () => fs.rmSync(path, options)),
  truncate: ({ operate }, path: string, bytes: number) =>
    operate(`truncate ${kindOf(path)}`, () => fs.truncateSync(path, bytes)),
  utimes: ({ operate }, path: string, atime: Date, mtime: Date) =>
    operate(`utimes ${kindOf(path)}`, () => fs.utimesSync(path, atime, mtime)),
  mkdir: ({ operate }, path: string, options: object) =>
    operate(`mkdir ${kindOf(path)}`, () => fs.mkdirSync(path, options)),
  readFile: ({ operate }, path: string, encoding: 'utf8') =>
    operate(`read ${kindOf(path)}`, () => fs.readFileSync(path, encoding)),
  readdir: ({ operate }, path: string, options: { withFileTypes: true }) =>
    operate(`list ${kindOf(path)}`, () => sorted(fs.readdirSync(path, options))),
  stat: ({ operate }, path: string) => operate(`stat ${kindOf(path)}`, () => fs.statSync(path))
}

/** Replaces the file operations for simulated processes. @returns a function that restores them */
export function replaceFileOperations(): () => void {
  const originals: [target: object, original: object][] = []
  function replace(target: object, name: string, replacement: Replacement): void {
    const original = Reflect.get(target, name)
    originals.push([target, { [name]: original }])
    const chosen = (...args: never[]) => {
      const process = running.getStore()
      return process ? replacement(process, ...args) : original(...args)
    }
    Object.assign(target, { [name]: chosen })
  }
  for (const [name, replacement] of Object.entries(replacements)) replace(promises, name, replacement)
  // A compression is one write.
  replace(fs, 'createReadStream', (_process, path: PathLike) => ({ path }))
  replace(fs, 'createWriteStream', (_process, path: PathLike) => ({ path }))
  replace(stream, 'pipeline', ({ operate }, from: { path: string }, _gzip: unknown, to: { path: string }) => {
    const compressed = () => gzipSync(fs.readFileSync(from.path))
    return operate(
      `compress ${kindOf(from.path)}`,
      () => fs.writeFileSync(to.path, compressed()),
      (below) => fs.writeFileSync(to.path, compressed().subarray(0, below(20)))
    )
  })
  syncBuiltinESMExports()
  return () => {
    for (const [target, original] of originals) Object.assign(target, original)
    syncBuiltinESMExports()
  }
}
