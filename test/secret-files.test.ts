/** Every secret of every service can come from a file (`<variable>_FILE`). */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { keyPaths, secretPaths } from '#common/config/catalogue.ts'
import { environmentName, loadConfig, type Schema } from '#common/config/load.ts'
import { schema as gateway } from '../gateway/config.ts'
import { schema as logSink } from '../log-sink/config.ts'
import { schema as sessionSvc } from '../session-svc/config.ts'
import { schema as whole } from '../stack/config.ts'
import { schema as userSvc } from '../user-svc/config.ts'
import { sensitiveKeys, withoutSecret } from './support/sensitive-keys.ts'

const folder = mkdtempSync(join(tmpdir(), 'secret-files-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const secret = Buffer.alloc(32, 'the secret of a file').toString('base64')

for (const [name, schema] of Object.entries({ gateway, userSvc, sessionSvc, logSink, whole }) as [string, Schema][]) {
  t.test(`each secret of ${name} comes from its file`, async (t) => {
    const load = (environment: NodeJS.ProcessEnv) =>
      loadConfig(schema, { CONFIG_FILE: '/dev/null', ...environment }, { otherKeys: keyPaths })
    const none = JSON.stringify(load({}))
    for (const { path, textWith } of sensitiveKeys(schema)) {
      const [variable, file] = [environmentName(path), join(folder, path)]
      writeFileSync(file, `${textWith(secret)}\n`)
      const fromFile = load({ [`${variable}_FILE`]: file })
      t.same(fromFile, load({ [variable]: textWith(secret) }), path)
      t.not(JSON.stringify(fromFile), none, `${path} is set`)
    }
  })
}

t.test('every service knows the variables of all files', async (t) => {
  const paths = sensitiveKeys(whole).map(({ path }) => path)
  t.same([...paths, ...withoutSecret].sort(), [...secretPaths].sort(), 'the catalogue has each sensitive key')
  for (const path of secretPaths) {
    const environment = { CONFIG_FILE: '/dev/null', [`${environmentName(path)}_FILE`]: '' }
    t.doesNotThrow(() => loadConfig(logSink, environment, { otherKeys: keyPaths }), path)
  }
})
