/** The reference of error codes, from the table that responses, logs and metrics read. */

import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { httpRefusals, problemType } from '../../gateway/problem.ts'

const row = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`

/** One table for the codes of RPCs, and one for the errors that only HTTP has. */
export function errorTables(): string {
  const codes = allCodes
    .map(errorMeaning)
    .map(({ name, status, title, errorClass, logLevel }) =>
      row([`\`${name}\``, status, `\`${problemType(name)}\``, title, errorClass, logLevel])
    )
  const refusals = Object.entries(httpRefusals).map(([status, { code, title, detail }]) =>
    row([`\`${code}\``, status, `\`${problemType(code)}\``, title, detail])
  )
  return [
    '## Codes\n',
    row(['code', 'HTTP status', 'problem type', 'title', 'error class', 'log level']),
    '|---|---|---|---|---|---|',
    ...codes,
    '\n## Errors of HTTP\n',
    'These errors have no RPC code. Their class is `client`.\n',
    row(['code', 'HTTP status', 'problem type', 'title', 'detail']),
    '|---|---|---|---|---|',
    ...refusals
  ].join('\n')
}
