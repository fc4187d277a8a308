/** Keys that take addresses: special characters in a password, and that no part of a URL is in a message. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { postgresAddress } from '#common/config/postgres-url.ts'
import { kafka, redis, rpc } from '#common/config/shared-sections.ts'
import { url } from '#common/config/url-keys.ts'
import { fieldCase } from '#common/testing/field-cases.ts'

const userSvc = {
  postgres: { url: url(['postgres', 'postgresql'], '', '', (_parts, written) => postgresAddress(written)) }
}
const file = join(mkdtempSync(join(tmpdir(), 'urls-')), 'config.yml')
writeFileSync(file, '')

function messageFor(variable: string, value: string): string {
  try {
    loadConfig({ userSvc, redis, rpc, kafka }, { CONFIG_FILE: file, [variable]: value })
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

const urlKeys = {
  USER_SVC_POSTGRES_URL: [
    'userSvc.postgres.url',
    (password: string) => `postgres://auth:${password}@127.0.0.1:5432/auth`
  ],
  REDIS_URL: ['redis.url', (password: string) => `redis://:${password}@127.0.0.1:6379`]
} as const

fieldCase(t, 14, 'a raw special character in a password is one line that names the key and the encoding', async (t) => {
  for (const [variable, [key, urlWith]] of Object.entries(urlKeys)) {
    for (const character of ['@', '/', '#', '?', '%', '\\', ' ', '[', ']', '%zz', '%@', '\t', '%ff', '%00']) {
      for (const password of [`S3cret${character}Tail`, `12${character}S3cretTail`, `S3cretTail${character}`]) {
        const message = messageFor(variable, urlWith(password))
        t.match(
          message,
          new RegExp(`^${key}: got a value \\(not shown\\) from ${variable}, takes a URL`),
          urlWith(password)
        )
        t.match(message, /percent-encoded/)
        t.notMatch(message, /S3cret|Tail|127\.0|\n/)
      }
    }
  }
})

t.test('encoded characters, and raw ones that no parser takes for an end, are the password', async (t) => {
  for (const password of ['p@ss/word#100%?', 'a:b', 'ü€ ', '100%25', '\'"\\$&+=', '[x]']) {
    const encoded = encodeURIComponent(password)
    for (const [variable, [, urlWith]] of Object.entries(urlKeys)) t.equal(messageFor(variable, urlWith(encoded)), '')
    const { password: read } = postgresAddress(`postgres://auth:${encoded}@h/db`)
    t.equal((read as () => string)(), password)
  }
  for (const raw of ['a:b', 'a+b=c&d', 'a^b|c', 'a!$*,;~'])
    t.equal((postgresAddress(`postgres://auth:${raw}@h/db`).password as () => string)(), raw)
})

t.test('an address of another kind is not shown either', async (t) => {
  const mistakes: [string, string][] = [
    ['KAFKA_BROKERS', 'SASL_SSL://u:S3cretTail@h:9092'],
    ['KAFKA_BROKERS', 'u:S3cretTail@h:9092'],
    ['KAFKA_BROKERS', 'S3cretTail:0'],
    ['KAFKA_BROKERS', 'S3cretTail:70000'],
    ['KAFKA_BROKERS', '[::S3cret]:1'],
    ['REDIS_NODES', 'redis://:S3cretTail@h:6379'],
    ['REDIS_URL', 'redis://h:6379/S3cretTail'],
    ['REDIS_URL', 'redis://h:6379?S3cretTail=1'],
    ['REDIS_URL', 'redis://:S3cretTail@h:99999'],
    ['REDIS_URL', 'redis://:S3cretTail'],
    ['REDIS_URL', 'unix:///S3cretTail'],
    // Clients read these by the parser of the runtime, whose error quotes the whole URL.
    ['REDIS_URL', 'redis://:S3cretTail@[fe80::1%25eth0]:6379'],
    ['REDIS_URL', 'redis://:S3cretTail@[1::2::3]:6379'],
    ['REDIS_NODES', '[fe80::1%25eth0]:6379'],
    ['KAFKA_BROKERS', '[1::2::3]:9092'],
    ['RPC_USER_SVC_URL', 'http://[fe80::1%25eth0]:1'],
    ['RPC_USER_SVC_URL', 'http://1.2.3.4.5:1'],
    ['RPC_SESSION_SVC_URL', 'http://256.1.1.1:1,http://h:1'],
    ['RPC_USER_SVC_URL', 'http://u:S3cretTail@h:1'],
    ['RPC_USER_SVC_URL', 'http://u:S3/cretTail@h:1'],
    ['RPC_SESSION_SVC_URL', 'http://h:1?S3cretTail'],
    ['RPC_SESSION_SVC_URL', 'http://h:1,http://u:S3cretTail@h:1'],
    ['USER_SVC_POSTGRES_URL', 'postgres://auth:12?S3cretTail'],
    ['USER_SVC_POSTGRES_URL', 'postgres://auth:S3cretTail/x'],
    ['USER_SVC_POSTGRES_URL', 'jdbc:postgresql://u:S3cretTail@h/x']
  ]
  for (const [variable, value] of mistakes) {
    const message = messageFor(variable, value)
    t.match(message, /^[a-zA-Z.]+: /, value)
    t.notMatch(message, /S3cret|Tail|\n/)
  }
  for (const taken of ['redis://h', 'redis://u:p@h:1/15', 'rediss://[::1]:6379/', 'rediss://:p@my_host.x:1'])
    t.equal(messageFor('REDIS_URL', taken), '', taken)
  t.equal(messageFor('KAFKA_BROKERS', 'b-1.x:9092, [::1]:9092'), '')
})
