/** The key that signs the events of accounts under `make run`, and the public keys for their consumers. */

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { publicEventKey } from '../user-svc/outbox/event-signature.ts'
import type { Config } from './config.ts'
import { generatedKey } from './mail-settings.ts'

/** The variable of user-svc: the configured keys, or a generated one. The file `event-keys.pub` has the public keys. */
export function eventVariables({ userSvc }: Config, dataDir: string): NodeJS.ProcessEnv {
  const keys = userSvc.eventKeys.length > 0 ? userSvc.eventKeys : [generatedKey(join(dataDir, 'event-key'))]
  writeFileSync(join(dataDir, 'event-keys.pub'), `${keys.map(publicEventKey).join('\n')}\n`)
  return { USER_SVC_EVENT_KEYS: keys.join(',') }
}
