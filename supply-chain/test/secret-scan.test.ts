/** The secret scan of `make check`: a planted credential fails it. The credentials are random, so that this file has none. */

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { ToolError } from '../../stack/tool.ts'
import { requireNoSecrets } from '../secret-scan.ts'

const letters = (count: number) => randomBytes(count).toString('hex').slice(0, count)
const planted = {
  'session-token.ts': `const token = 'ses_${letters(70)}'`,
  'database.env': `USER_SVC_POSTGRES_URL=postgres://auth:${letters(12)}@db.example.org:5432/auth`,
  'github.yml': `token: ghp_${letters(36)}`,
  'key.pem': generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })
}

t.test('a planted secret fails the scan, and the file is named', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'secrets-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const write = (name: string, text: string) => {
    const file = join(folder, name)
    writeFileSync(file, `${text}\n`)
    return file
  }
  const harmless = write('harmless.ts', "const token = 'none'")
  await requireNoSecrets([harmless])
  const files = Object.entries(planted).map(([name, text]) => write(name, text))
  const output = await requireNoSecrets([harmless, ...files]).then(
    () => '',
    (error) => (error instanceof ToolError ? error.output : Promise.reject(error))
  )
  for (const file of files) t.match(output, file)
  t.notMatch(output, harmless)
})
