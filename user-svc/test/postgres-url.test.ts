/** URLs of PostgreSQL as providers and tools print them: used, ignored and rejected parameters, on a real server. */

import { readFileSync } from 'node:fs'
import pg from 'pg'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { dropDriverVariables } from '#common/config/runtime-variables.ts'
import { createTestCa } from '#common/testing/certificates.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { engineAddress } from '#common/testing/service.ts'
import { userSvc } from '../config.ts'
import { postgresAddress, requireTlsInUrl } from '../postgres-url.ts'

const server = engineAddress('TEST_POSTGRES_URL')

async function query(url: string, text: string): Promise<unknown> {
  const client = new pg.Client({ application_name: 'default', ...postgresAddress(url), connectionTimeoutMillis: 5000 })
  await client.connect()
  try {
    const { rows } = await client.query<unknown[]>({ text, rowMode: 'array' })
    return (rows[0] as unknown[])[0]
  } finally {
    await client.end()
  }
}

const name = 'select current_setting($$application_name$$)'

fieldCase(t, 13, 'the parameters of Prisma, Neon, Supabase, RDS and Heroku leave a connection as it is', async (t) => {
  const printed = [
    '?schema=public',
    '?channel_binding=prefer',
    '?pgbouncer=true&connection_limit=5&pool_timeout=10&statement_cache_size=0&sslaccept=accept_invalid_certs',
    '?sslmode=disable&connect_timeout=10&keepalives=1&target_session_attrs=read-write&gssencmode=disable',
    '?supa=base-pooler.x&client_encoding=UTF8',
    '?workaround=supabase-pooler.vercel&pgbouncer=true'
  ]
  for (const parameters of printed) t.equal(await query(server + parameters, name), 'default', parameters)
  const other = server.replace('postgres://', 'postgresql://')
  t.equal(await query(`${other}?application_name=my%20app`, name), 'my app')
  t.equal(await query(`${server}?options=-c%20statement_timeout%3D1234`, 'show statement_timeout'), '1234ms')
  const bare = new URL(server)
  bare.pathname = ''
  bare.searchParams.set('dbname', new URL(server).pathname.slice(1))
  t.equal(await query(bare.href, 'select current_database()'), new URL(server).pathname.slice(1))
})

t.test('TLS has the meaning that libpq gives it', async (t) => {
  const tls = (query: string) => postgresAddress(`postgres://u@h/d${query}`).ssl
  const { ca } = createTestCa(t)
  const certificate = readFileSync(ca)
  t.equal(tls(''), false)
  t.equal(tls('?sslmode=disable'), false)
  t.equal(tls('?ssl=false'), false)
  for (const query of ['?sslmode=require', '?ssl=true', '?sslmode=no-verify'])
    t.same(tls(query), { rejectUnauthorized: false })
  t.same(tls('?sslmode=verify-full'), {})
  t.same(tls('?sslrootcert=system&sslmode=require'), {})
  t.match(tls(`?sslmode=require&sslrootcert=${ca}`), { ca: certificate, checkServerIdentity: Function })
  t.same(tls(`?sslmode=verify-full&sslrootcert=${ca}`), { ca: certificate })
  t.match(postgresAddress('postgres://u:p@h/d?sslmode=require&channel_binding=require'), { enableChannelBinding: true })
  await t.rejects(query(`${server}?sslmode=require`, name), { message: 'The server does not support SSL connections' })
})

t.test('hosts', async (t) => {
  const at = (url: string) => {
    const { host, port, user, database } = postgresAddress(url)
    return [host, port, user, database].join(' ')
  }
  t.equal(at('postgres://u:p@db.example/x'), 'db.example 5432 u x')
  t.equal(at('postgres://u@[::1]:6000/x'), '::1 6000 u x')
  t.equal(at('postgres://u@[fe80::1%25eth0]/x'), 'fe80::1%eth0 5432 u x')
  t.equal(at('postgres://u@%2Fvar%2Frun%2Fpostgresql/x'), '/var/run/postgresql 5432 u x')
  t.equal(at('postgres://u@/x?host=/var/run/postgresql&port=6000'), '/var/run/postgresql 6000 u x')
  t.equal(at('postgres://h?user=u&password=p'), 'h 5432 u u')
})

/** The message of the start with a URL; empty if it is accepted. */
function startMessage(url: string): string {
  try {
    loadConfig({ userSvc }, { CONFIG_FILE: '/dev/null', USER_SVC_POSTGRES_URL: url })
    return ''
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message}`
  }
}

t.test('the message for an unusable URL is one line, with documented words only', async (t) => {
  const rejected: [string, RegExp][] = [
    ['postgres://u:p@a:1,b:2/S3cret', /names several hosts, takes one/],
    ['postgres:///S3cret', /names no host/],
    ['postgres://h/S3cret', /names no user/],
    ['postgres://u@h:0/S3cret', /no valid (host|port)/],
    ['postgres://u@h/d?S3cret=1', /has an unknown parameter \(not shown\)/],
    ['postgres://u@h/d?statement_timeout=S3cret', /has the parameter statement_timeout, takes/],
    ['postgres://u@h/d?schema=S3cret', /parameter schema takes public; name another schema with options=/],
    ['postgres://u@h/d?sslmode=prefer', /parameter sslmode takes disable, require/],
    ['postgres://u@h/d?sslmode=S3cret', /parameter sslmode/],
    ['postgres://u@h/d?sslmode=verify-ca', /takes sslrootcert/],
    ['postgres://u@h/d?sslmode=verify-ca&sslrootcert=', /parameter sslrootcert takes a file or system$/],
    ['postgres://u@h/d?sslcert=&sslkey=', /parameter sslcert takes a file$/],
    ['postgres://u@h/d?sslkey=', /parameter sslkey takes a file$/],
    [
      'postgres://u@h/d?sslmode=require&sslrootcert=/nowhere/S3cret',
      /parameter sslrootcert: cannot be read \(ENOENT\)/
    ],
    ['postgres://u@h/d?ssl=true&ssl=false', /has the parameter ssl twice/],
    ['postgres://u@h/d?ssl=S3cret', /parameter ssl takes true, false, 0, 1, no-verify$/],
    ['postgres://u@h/d?port=S3cret', /parameter port takes a port from 1 to 65535$/],
    ['postgres://u@h/d?channel_binding=S3cret', /parameter channel_binding takes disable, prefer, require$/],
    ['postgres://u@h/d?target_session_attrs=standby', /takes any, read-write or primary/]
  ]
  for (const [url, message] of rejected) {
    t.match(startMessage(url), message, url)
    t.match(startMessage(url), /^ConfigError: userSvc\.postgres\.url: (?!.*S3cret)[^\n]+$/, url)
  }
  for (const url of ['postgres://auth:12?S3cretTail', 'postgres://auth:S3cretTail/x'])
    t.match(startMessage(url), /^ConfigError: userSvc\.postgres\.url: (?!.*S3cret)[^\n]+$/, url)
})

t.test('decodes the password; characters that end no part of a URL may be raw', async (t) => {
  const passwordOf = (url: string) => (postgresAddress(url).password as () => string)()
  for (const password of ['p@ss/word#100%?', 'a:b', 'ü€ ', '100%25', '\'"\\$&+=', '[x]']) {
    const url = `postgres://auth:${encodeURIComponent(password)}@h/db`
    t.equal(passwordOf(url), password)
    t.equal(startMessage(url), '')
  }
  for (const raw of ['a:b', 'a+b=c&d', 'a^b|c', 'a!$*,;~']) t.equal(passwordOf(`postgres://auth:${raw}@h/db`), raw)
})

fieldCase(
  t,
  15,
  "libpq's variables change no connection, and a variable that requires TLS stops the start",
  async (t) => {
    const saved = { ...process.env }
    t.teardown(() => {
      process.env = saved
    })
    const variables = {
      PGSSLMODE: 'require',
      PGHOST: 'nowhere',
      PGPASSWORD: 'x',
      PGOPTIONS: '-c x=1',
      PGAPPNAME: 'x',
      PGPORT: '1'
    }
    Object.assign(process.env, variables, { PGCLIENTENCODING: 'LATIN1', PGDATABASE: 'none', PGUSER: 'none' })
    t.equal(postgresAddress(server).ssl, false)
    dropDriverVariables()
    t.equal(await query(server, name), 'default')
    t.equal(process.env.PGHOST, undefined)
    const url = 'postgres://u@h/d'
    for (const PGSSLMODE of ['require', 'verify-ca', 'verify-full'])
      t.throws(() => requireTlsInUrl(url, { PGSSLMODE }), {
        name: 'ConfigError',
        message: /^PGSSLMODE: .* write sslmode=/
      })
    t.doesNotThrow(() => requireTlsInUrl(`${url}?sslmode=verify-full`, { PGSSLMODE: 'require' }))
    t.doesNotThrow(() => requireTlsInUrl('', { PGSSLMODE: 'require' }), 'make run starts its own')
    t.doesNotThrow(() => requireTlsInUrl(url, { PGSSLMODE: 'prefer' }))
  }
)
