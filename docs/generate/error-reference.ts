/** The reference of error codes, from the table that responses, logs and metrics read. */

import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { httpRefusals, problemType, reasonProblems } from '../../gateway/problem.ts'

const row = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`

/** A table for the codes of RPCs, one for the reasons of user-svc, and one for the errors that only HTTP has. */
export function errorTables(): string {
  const codes = allCodes
    .map(errorMeaning)
    .map(({ name, status, title, errorClass, logLevel }) =>
      row([`\`${name}\``, status, `\`${problemType(name)}\``, title, errorClass, logLevel])
    )
  const refusals = Object.entries(httpRefusals).map(([status, { code, title, detail }]) =>
    row([`\`${code}\``, status, `\`${problemType(code)}\``, title, detail])
  )
  const reasons = Object.entries(reasonProblems).map(([reason, { code, status, title }]) =>
    row([`\`${reason}\``, status, `\`${problemType(code)}\``, title])
  )
  return [
    '## Codes\n',
    row(['code', 'HTTP status', 'problem type', 'title', 'error class', 'log level']),
    '|---|---|---|---|---|---|',
    ...codes,
    '\n## Reasons\n',
    'These reasons of `user.v1` (ErrorInfo) have a problem type of their own at the gateway. Their class is `client`.\n',
    row(['reason', 'HTTP status', 'problem type', 'title']),
    '|---|---|---|---|',
    ...reasons,
    '\n## Errors of HTTP\n',
    'These errors have no RPC code. Their class is `client`.\n',
    row(['code', 'HTTP status', 'problem type', 'title', 'detail']),
    '|---|---|---|---|---|',
    ...refusals
  ].join('\n')
}
