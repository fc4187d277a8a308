/** Renders and parses the page of the fault matrix: the responses of one run. */

import { type ProbeName, probeNames } from './columns.ts'
import type { FaultResult, Seen } from './matrix.ts'
import { targets } from './targets.ts'

export const pagePath = 'docs/reference/faults.md'

const opening = `# Responses under faults

<!-- Written by \`make test-faults PAGE=1\` from a run against the real engines; do not edit. -->

Each dependency had each of six faults while the product ran. Every route was called right after the fault, and again
after the services had detected it. [\`test/faults/expected-responses.ts\`](../../test/faults/expected-responses.ts) defines the permitted
responses. \`make test\` runs the same matrix, and fails if a response is not permitted or if this page differs from the
matrix. The times are those of one run on a small machine; the statuses are promises.

- **An outage is a 503 or a 504, a wrong credential is a 401.** No fault makes a valid session a 401.
- **503: not applied. 504: outcome unknown.** A registration that was answered 503 has left no account.
- **A response stays true.** An account whose registration was answered 201 can log in. After a logout or deletion was
  answered, no response reports the session as valid.
- **A Kafka outage changes no response.** During a PostgreSQL outage, \`GET /session\` and \`DELETE /logout\` work.
- **No recovery needs a restart.** The services use a dependency again within two seconds of its return; a busy machine may
  take longer.
- Each server error has a log line \`request_failed\` with code and trace, and counts in \`request_errors_total\` by class.
  \`dependency_up\` is 0 for a dependency that is down. log-sink collects every log line once.

The faults: *absent at start*, the services start while the dependency is down; *killed*, \`kill -9\`; *frozen*,
\`SIGSTOP\`; *slow*, each round trip takes 300 ms longer; *resetting*, every connection is reset; *back and empty*, killed
and restarted without its data. \`wrong password\` is \`POST /auth\` with a wrong password, \`ended session\` is
\`GET /session\` with the token of a session that has ended.

A cell: the status right after the fault and, if different, the status after its detection · the slowest response · the
time from the end of the fault to the first response without a server error.
`

const notes: Partial<Record<(typeof targets)[number], string>> = {
  postgres: `Back and empty: user-svc creates the schema again before it is ready, unless \`make run\` or a job migrates
([deploy](../operate/deploy.md#postgresql)). No account exists, so logins are 401. Sessions are in Redis and stay valid
until they end or their account, though it does not exist, is deleted.`,
  redis: `Back and empty: all sessions have ended. This is the only fault after which a session that was valid is answered
401. The accounts are unchanged.`,
  kafka: `Log lines wait on the disks of the services, account events in PostgreSQL. Back and empty: log-sink reports that the
topic was deleted and does not create it again; the run followed the instructions of that message.`,
  'user-svc': 'It has no data: back and empty is a new process.',
  'session-svc': 'It has no data: back and empty is a new process.',
  mail: `Emails wait in PostgreSQL. An email is sent twice only if the mail server fails after it has accepted the email and before its
response arrives.`
}

const seconds = (ms: number) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

function cell({ statuses, slowestMs, recoveryMs }: Seen): string {
  return `${[...new Set(statuses)].join(', then ')} · ${seconds(slowestMs)} · ${seconds(recoveryMs)}`
}

export function renderPage(results: FaultResult[]): string {
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`
  const sections = targets.map((target) => {
    const rows = results
      .filter((each) => each.target === target)
      .map(({ fault, seen }) => row([fault, ...probeNames.map((name) => cell(seen[name]))]))
    const head = [row(['fault', ...probeNames.map((name) => `\`${name}\``)]), row(['', ...probeNames].map(() => '---'))]
    return [`## ${target}`, '', notes[target] ?? '', '', ...head, ...rows, ''].join('\n')
  })
  return [opening, ...sections].join('\n')
}

/** The cells of the page, with their statuses in order. */
export function readPage(text: string): { target: string; fault: string; probe: ProbeName; statuses: number[] }[] {
  return text
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const target = section.slice(0, section.indexOf('\n'))
      const rows = section.split('\n').filter((line) => line.startsWith('| ') && line.includes('·'))
      const cellsOf = (line = '') =>
        line
          .split('|')
          .slice(1, -1)
          .map((each) => each.trim().replaceAll('`', ''))
      const [, ...probes] = cellsOf(section.split('\n').find((line) => line.startsWith('| fault |')))
      return rows.flatMap((line) => {
        const [fault = '', ...cells] = cellsOf(line)
        return cells.map((each, index) => ({
          target,
          fault,
          probe: probes[index] as ProbeName,
          statuses: (each.split('·')[0] ?? '').split(', then ').map(Number)
        }))
      })
    })
}
