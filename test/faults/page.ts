/** The page `docs/faults.md`: what a run of the matrix has seen. */

import { targets } from './laboratory.ts'
import type { CellResults, Seen } from './matrix.ts'
import { type ProbeName, probeNames } from './probes.ts'

export const pagePath = 'docs/faults.md'

const opening = `# What happens when something breaks

<!-- Written by \`make test-faults PAGE=1\` from a run against the real engines; do not edit. -->

Each dependency was broken in each of six ways while the product ran, and every route was called: once at once, and once
more when the fault was known. What may come is laid down in
[\`test/faults/expectations.ts\`](../test/faults/expectations.ts); \`make test\` runs the same matrix and fails if an answer is
not in it, or if this page tells something else. The times are those of one run on a small machine; the promises are
the statuses.

- **An outage is a 503 or a 504, a wrong credential is a 401**, and the two are never mixed up: a valid session is never
  answered 401, whatever is broken.
- **503: certainly not done, 504: outcome unknown.** A registration that was answered by 503 has left no account.
- **What was answered stays true.** An account whose 201 was delivered can log in; a session whose log-out or deletion was
  answered is never valid again.
- **Kafka changes no answer of any route.** PostgreSQL down leaves \`GET /session\` and \`DELETE /logout\` working.
- **Nothing needs a restart.** Who was away is used again within two seconds of the return; on a busy machine, some more.
- Each failure has its line \`request_failed\` with its code and trace, is counted in \`request_errors_total\` by whose fault
  it was, and \`dependency_up\` says what is away. Every log line is collected once.

The faults: *absent at start*, the services are started before it; *killed*, \`kill -9\`; *frozen*, \`SIGSTOP\`; *slow*, each
round trip takes 300 ms longer; *resetting*, every connection is reset; *back and empty*, killed and back without its
data. \`wrong password\` is \`POST /auth\` with one, \`ended session\` is \`GET /session\` with the token of a session that was
logged out.

A cell: the status at once, and then, if that was another one · the slowest answer · the time from the return to the first
answer that was no server's error.
`

const notes: Partial<Record<(typeof targets)[number], string>> = {
  postgres: `Back and empty: the schema is made anew; nobody is known any more, so log-ins are 401. Sessions are in Redis and stay
valid until they are ended or their account, though unknown, is deleted.`,
  redis: `Back and empty: all sessions are gone, so 401 is the truth, and the only case in which a session that was valid is
answered so. Accounts are as they were.`,
  kafka: `Log lines wait on the disk of each service, events of accounts in PostgreSQL. Back and empty: log-sink says that the
topic is gone and does not make it again by itself; the run did what its message asks for.`,
  'user-svc': 'It holds no data: back and empty is a new process.',
  'session-svc': 'It holds no data: back and empty is a new process.'
}

const seconds = (ms: number) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`)

function cell({ statuses, slowestMs, backMs }: Seen): string {
  return `${[...new Set(statuses)].join(', then ')} · ${seconds(slowestMs)} · ${seconds(backMs)}`
}

/** The whole page. */
export function renderPage(results: CellResults[]): string {
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`
  const sections = targets.map((target) => {
    const rows = results
      .filter((each) => each.target === target)
      .map(({ fault, routes }) => row([fault, ...probeNames.map((name) => cell(routes[name]))]))
    const head = [row(['fault', ...probeNames.map((name) => `\`${name}\``)]), row(['', ...probeNames].map(() => '---'))]
    return [`## ${target}`, '', notes[target] ?? '', '', ...head, ...rows, ''].join('\n')
  })
  return [opening, ...sections].join('\n')
}

/** What the page says was answered: target, fault, route, statuses in their order. */
export function readPage(text: string): { target: string; fault: string; route: ProbeName; statuses: number[] }[] {
  return text
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const target = section.slice(0, section.indexOf('\n'))
      const rows = section.split('\n').filter((line) => line.startsWith('| ') && line.includes('·'))
      return rows.flatMap((line) => {
        const [fault = '', ...cells] = line
          .split('|')
          .slice(1, -1)
          .map((each) => each.trim())
        return cells.map((each, index) => ({
          target,
          fault,
          route: probeNames[index] as ProbeName,
          statuses: (each.split('·')[0] ?? '').split(', then ').map(Number)
        }))
      })
    })
}
