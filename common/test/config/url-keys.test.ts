/** Keys for addresses: special characters in a password, and messages without any part of a URL. */

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '#common/config/load.ts'
import { kafka, redis, rpc } from '#common/config/shared-sections.ts'
import { url, urlLogin } from '#common/config/url-keys.ts'
import { fieldCase } from '#common/testing/field-cases.ts'

const userSvc = { postgres: { url: url(['postgres', 'postgresql'], '') } }
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

fieldCase(t, 14, 'the message for a raw special character in a password names the key and the encoding', async (t) => {
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

t.test('accepts a password with encoded special characters', async (t) => {
  for (const password of ['p@ss/word#100%?', 'a:b', 'ü€ ', '100%25', '\'"\\$&+=', '[x]']) {
    const encoded = encodeURIComponent(password)
    for (const [variable, [, urlWith]] of Object.entries(urlKeys)) t.equal(messageFor(variable, urlWith(encoded)), '')
  }
})

t.test('the message for a malformed address contains no part of it', async (t) => {
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
    // Clients parse these with the parser of the runtime; its error quotes the whole URL.
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
    ['USER_SVC_POSTGRES_URL', 'jdbc:postgresql://u:S3cretTail@h/x']
  ]
  for (const [variable, value] of mistakes) {
    const message = messageFor(variable, value)
    t.match(message, /^[a-zA-Z.]+: /, value)
    t.notMatch(message, /S3cret|Tail|\n/)
  }
  for (const accepted of ['redis://h', 'redis://u:p@h:1/15', 'rediss://[::1]:6379/', 'rediss://:p@my_host.x:1'])
    t.equal(messageFor('REDIS_URL', accepted), '', accepted)
  t.equal(messageFor('KAFKA_BROKERS', 'b-1.x:9092, [::1]:9092'), '')
})

t.test('user and password are before the host or parameters, and a plus sign is no space', async (t) => {
  for (const [scheme, written, expected] of [
    ['postgres://', 'u%2B+:a+b%3D=@h/x?user=other&password=other', ['u++', 'a+b==']],
    ['postgres://', 'h/x?sslmode=require&user=u+&password=a+b%2B=c', ['u+', 'a+b+=c']],
    ['postgres://', 'u@h/x?password=p', ['u', 'p']],
    ['postgres://', 'h/x', ['', '']],
    ['file:', '.data/mail?password=p', ['', '']]
  ] as const) {
    const { user, password } = urlLogin(scheme + written)
    t.same([user, password], expected, written)
  }
})
