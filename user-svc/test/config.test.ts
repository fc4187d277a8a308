/** The configuration of user-svc: keys that need others. */

import t from 'tap'
import { loadWith } from './load-with.ts'

const base = {
  CONFIG_FILE: '/dev/null',
  RPC_TOKEN: 'a-token-of-the-tests-of-32-characters',
  USER_SVC_POSTGRES_URL: 'postgres://user:password@127.0.0.1/database',
  USER_SVC_REGISTRATION_CONCEAL_TAKEN: 'true'
}
const verified = { USER_SVC_REQUIRE_VERIFIED_EMAIL: 'true' }
const mail = {
  MAIL_URL: `file:${t.testdir()}`,
  MAIL_FROM: 'auth@example.org',
  MAIL_KEYS: `a:${Buffer.alloc(32, 1).toString('base64')}`,
  MAIL_LINKS_VERIFY: 'https://app.example.org/#verify={token}',
  MAIL_LINKS_RESET: 'https://app.example.org/#reset={token}'
}

t.test('taken addresses are concealed only with emails and verified addresses', async (t) => {
  const message = /^userSvc\.registration\.concealTaken: .*mail\.url and userSvc\.requireVerifiedEmail/
  for (const missing of [{}, mail, verified]) {
    t.throws(() => loadWith({ ...base, ...missing }), { name: 'ConfigError', message })
  }
  const { userSvc } = loadWith({ ...base, ...mail, ...verified })
  t.ok(userSvc.registration.concealTaken)
  t.doesNotThrow(() => loadWith({ ...base, USER_SVC_REGISTRATION_CONCEAL_TAKEN: 'false' }))
})
