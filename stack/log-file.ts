/** The file that takes the output of one process: emptied when the stack starts, and bounded in size. */

import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs'

/** An open log file; `fd` goes to the process, which writes to it directly, also when the supervisor is gone. */
export interface LogFile {
  fd: number
  /** The last line that says something, shortened; of a JSON line, its message. */
  lastLine(): string
  close(): void
}

/** Empties and opens a log file. Above `maxBytes` what it holds goes to `<path>.1`, and it begins anew. */
export function openLogFile(path: string, maxBytes = 50 * 2 ** 20, checkMs = 5000): LogFile {
  const fd = openSync(path, 'a+', 0o600)
  ftruncateSync(fd)
  const timer = setInterval(() => {
    if (fstatSync(fd).size <= maxBytes) return
    // The process keeps its descriptor, so the file is copied and cut, not renamed.
    copyFileSync(path, `${path}.1`)
    ftruncateSync(fd)
  }, checkMs).unref()
  return {
    fd,
    lastLine: () => lastLine(fd),
    close() {
      clearInterval(timer)
      closeSync(fd)
    }
  }
}

function lastLine(fd: number): string {
  const { size } = fstatSync(fd)
  const tail = Buffer.alloc(Math.min(size, 8192))
  readSync(fd, tail, 0, tail.length, size - tail.length)
  const lines = tail.toString('utf8').split('\n')
  // A stack trace and what Node adds below it say less than the line above them.
  const telling = lines.filter((line) => line.trim() !== '' && !/^\s+at |^Node\.js v|^[}\]\s]+$/.test(line))
  return messageOf(telling.at(-1) ?? '').slice(0, 300)
}

function messageOf(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } }
    return [msg, err?.message].filter(Boolean).join(': ') || line
  } catch {
    return line
  }
}
