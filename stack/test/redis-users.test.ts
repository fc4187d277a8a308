/** The documented permissions of Redis are those of `make run`. */

import { readFileSync } from 'node:fs'
import t from 'tap'
import { redisPermissions } from '../engines/redis-users.ts'

t.test('docs/operate/deploy.md lists the permissions of each user', async (t) => {
  const page = readFileSync(new URL('../../docs/operate/deploy.md', import.meta.url), 'utf8').replaceAll('\\|', '|')
  for (const [name, permissions] of Object.entries(redisPermissions))
    t.ok(page.includes(`| \`${name}\` | \`${permissions}\` |\n`), name)
})
