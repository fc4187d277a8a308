/** The file for the output of one process: emptied when the stack starts, and limited in size. */

import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs'

interface LogFile {
  /** For the process, which writes to the file itself, even after the supervisor has ended. */
  fd: number
  /** The last line that explains the end of the process, at most 300 characters; of a JSON line, its message. */
  lastLine(): string
  close(): void
}

/** Empties and opens a log file. Above `maxBytes` its content moves to `<path>.1`. */
export function openLogFile(path: string, maxBytes = 50 * 2 ** 20, checkMs = 5000): LogFile {
  const fd = openSync(path, 'a+', 0o600)
  ftruncateSync(fd)
  const timer = setInterval(() => {
    if (fstatSync(fd).size <= maxBytes) return
    // The process keeps its descriptor, so a rename would not help.
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
  // The line above a stack trace explains more than the trace and the version that Node.js prints below it.
  const messages = lines.filter((line) => line.trim() !== '' && !/^\s+at |^Node\.js v|^[}\]\s]+$/.test(line))
  return messageOf(messages.at(-1) ?? '').slice(0, 300)
}

function messageOf(line: string): string {
  try {
    const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } }
    return [msg, err?.message].filter(Boolean).join(': ') || line
  } catch {
    return line
  }
}
