/** Hashes of other systems, made by their own libraries: each matches its password, and none is computed beyond the ceilings. */

import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { PasswordHashes } from '../../passwords/password-hashes.ts'
import { parseStoredHash, passwordScheme, TooCostlyHashError, UnusableHashError } from '../../passwords/stored-hash.ts'

const password = 'correct horse battery staple'
const signal = new AbortController().signal
// Each has its own: a failed check then does the work of the costliest hash that it has seen.
const createPasswords = () => new PasswordHashes({ cost: 4, peppers: [] }, () => {})

const signerKey = 'Qv9jVaQinnbsPFdjT78rUlMYwViYjnzkWQELMfz2CHtgOrpGeko6jmOZdnemjtbtB9QqBI0qYRz3HzbRr8/5YQ=='
const firebaseBytes = '5SFjwfAg2zG5wAWErvC5CUYD7Ipb7BYwaAgT4Gs5jaWeQH4HfU49xzNagGAfXwpyTQ4QuQ4anjs0otScs0QXZQ=='

/** Hashes of `password`, by scheme. */
const vectors: Record<string, Record<string, string>> = {
  argon2id: {
    'argon2-cffi 25':
      '$argon2id$v=19$m=8192,t=2,p=2$P9z6/O9nm8AxUdBOwGuBeQ$8ykxMPQJEXZ+VhyhQEBpYVJhbLnQWy6IVQi8q61T7Cc',
    'Django 5':
      'argon2$argon2id$v=19$m=102400,t=2,p=8$c2Vhc2FsdHNlYXNhbHQyMg$1AiJu/itj5PEis9JgpWDwaBVHCAMqEAKEsUD/MmVLUA'
  },
  argon2i: {
    'argon2-cffi 25': '$argon2i$v=19$m=8192,t=2,p=2$4Jzn34N2xPGDjvUBfCz4Qg$+eMZEmxW+z8hjkXhNgRltiy0XJ3kkcrAFYLgw8IoMck'
  },
  argon2d: {
    'argon2-cffi 25': '$argon2d$v=19$m=8192,t=2,p=2$4Qrv7yh3saMTJ8F0lyHvFw$CjHJHoqdDLS/kMDeyu6FbGBAHfm8Erop9ZOZGnhRFhE'
  },
  scrypt: {
    'passlib 1.7': '$scrypt$ln=10,r=8,p=1$fm+NsZbSWktpjZESAoCw1g$jNMRlWGTqS/XeHDvLgH9wySnnhpp6wmv7h/UaqDV1tw',
    'Django 5':
      'scrypt$1024$seasalt2$8$5$ndLNbnzoOB8VPGcrDWboOqvJnggeLUVze+q0WEP6X6vUFWx0XgY4pX4RNes9M1wqi9qnLUptWQQQSaMbVxA6MA==',
    'better-auth 1':
      '3b5b2590c3fd3502aa1753e69242f7ee:5d388ce8e41d12d5d0ac937c27acccc5ab2a88743a7bff1fbf8f7ffce29e250044157ab5c3eea92bd8a37a32a416b0b88d2d0fdf169391733702412978a98d78',
    'the form of Kratos':
      '$scrypt$ln=1024,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg==$7AnzIswxwEinpwz+ntydndYfVHPvOACmX9Vvo8hO1qM=',
    'Firebase, in the form of GoTrue': `$fbscrypt$v=1,n=10,r=8,p=1,ss=Bw==,sk=${signerKey}$dGVuIGJ5dGVzIQ==$${firebaseBytes}`,
    'Firebase, in the form of Kratos': `$firescrypt$ln=10,r=8,p=1$dGVuIGJ5dGVzIQ==$${firebaseBytes}$Bw==$${signerKey}`
  },
  pbkdf2: {
    'passlib 1.7, SHA-1': '$pbkdf2$2000$ROgdo/Q.x9i711orBcC4lw$DIAtdBmcQbSGpsGy76mj9RMQ5e4',
    'passlib 1.7, SHA-256': '$pbkdf2-sha256$2000$YwzBmBPiHOM857y3FuJ8rw$1IzKJv1kqBLmrxTImuyPTouqqgrR3oSbscdfplVf/Qw',
    'passlib 1.7, SHA-512':
      '$pbkdf2-sha512$2000$BGAspTQGYGzt3TsHoNT6nw$kzkggvPBRCrJlCsTEjSAaQCxTsUEukop.YhP782vFRCxtF7ZSuAP7xm1jVEW3GkiHnYd2NHKAJVfCCDumj4fww',
    'Django 5, SHA-256': 'pbkdf2_sha256$2000$seasalt2$wxn68846qjDWD4qkn/0owVuveynrPhmySXSuVzeQu00=',
    'Django 5, SHA-1': 'pbkdf2_sha1$2000$seasalt2$gjXnoNOWnOYXEt3ZVQBlW9ZIGtM=',
    'the form of Kratos, SHA-1': '$pbkdf2-sha1$i=2000,l=20$MDEyMzQ1Njc4OWFiY2RlZg$LTLoaFTF+8Iz04vHlUMKF9a+hgY',
    'the form of Kratos, SHA-256, two blocks':
      '$pbkdf2-sha256$i=2000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$bucuaFAmxWz1I16djE1K+HlOG9D4XrozBzxwjypiDPxEdBd3ki6hMjFuHs2Pstck4OVoD44RKcTw1BM7zOVszw',
    'the form of Kratos, SHA-512':
      '$pbkdf2-sha512$i=2000,l=64$MDEyMzQ1Njc4OWFiY2RlZg$3mgstO7RrruaZAKnWUST+xlE1TX2ZzOyL0fYHKSaNEnIm+kZxefd8R2nHbloFcVLkcRoHBxXxAsemUvDdu846Q'
  }
}
const all = Object.entries(vectors).flatMap(([scheme, forms]) =>
  Object.entries(forms).map(([form, stored]) => ({ name: `${scheme}, ${form}`, scheme, stored }))
)

for (const { name, scheme, stored } of all) {
  t.test(name, async (t) => {
    const passwords = createPasswords()
    t.equal(passwordScheme(stored), scheme)
    t.equal(passwords.importProblem(stored), undefined)
    t.same(await passwords.check(password, stored, signal), { matches: true, stale: true })
    for (const wrong of [`${password} `, password.toUpperCase(), '', 'x'.repeat(200)]) {
      t.match(await passwords.check(wrong, stored, signal), { matches: false })
    }
  })
}

t.test('better-auth hashes the compatibility form of a password', async (t) => {
  const passwords = createPasswords()
  const stored =
    '327c6a97074e362a1aa5d5e2735b151b:ab9fcc7a9fef4f6c9e184e1c8da76e88c986b7de62c6871733655081a5c89ead8ad9d9abd22c9b1016435280c2989065fe0a0bf8069d339893b59fbfe3f96709'
  for (const written of ['ﬁve Ⅻ horses staple', 'five XII horses staple']) {
    t.match(await passwords.check(written, stored, signal), { matches: true })
  }
})

const digits = (count: number) => 'a'.repeat(count)
const argon2id = (parameters: string, salt = digits(22), hash = digits(43)) => `$argon2id$${parameters}$${salt}$${hash}`
const scrypt = (parameters: string) => `$scrypt$${parameters}$${digits(22)}$${digits(43)}`

t.test('the ceilings of time and memory are checked before any computation', async (t) => {
  const passwords = createPasswords()
  const highest = {
    bcrypt: `$2b$14$${digits(53)}`,
    'argon2id of Kratos': argon2id('v=19,m=131072,t=1,p=4'.replace(',', '$')),
    argon2id: argon2id('v=19$m=131072,t=11,p=1'),
    'scrypt of OWASP': scrypt('ln=17,r=8,p=1'),
    'the same of Kratos': scrypt('ln=131072,r=8,p=1'),
    pbkdf2: `$pbkdf2-sha256$5898240$${digits(22)}$${digits(43)}`
  }
  for (const [name, stored] of Object.entries(highest)) t.equal(passwords.importProblem(stored), undefined, name)
  const tooCostly = {
    bcrypt: `$2b$15$${digits(53)}`,
    'bcrypt of the highest cost': `$2y$31$${digits(53)}`,
    'time of argon2': argon2id('v=19$m=131072,t=12,p=1'),
    'memory of argon2': argon2id('v=19$m=131073,t=1,p=1'),
    'memory of argon2, the highest': argon2id('v=19$m=4294967295,t=1,p=1'),
    'passes of argon2, the highest': argon2id('v=19$m=8,t=4294967295,p=1'),
    'time of scrypt': scrypt('ln=17,r=8,p=4'),
    'memory of scrypt': scrypt('ln=18,r=8,p=1'),
    'memory of scrypt, in the form of Kratos': scrypt('ln=262144,r=8,p=1'),
    'memory of scrypt, the highest': scrypt('ln=31,r=8,p=1'),
    'blocks of scrypt': scrypt('ln=1,r=1000000,p=1'),
    'parallelization of scrypt': scrypt('ln=4,r=1,p=1000000'),
    'iterations of PBKDF2': `$pbkdf2-sha256$5898241$${digits(22)}$${digits(43)}`,
    'iterations of PBKDF2 with two blocks': `$pbkdf2-sha256$2949121$${digits(22)}$${digits(86)}`,
    'iterations of PBKDF2 with SHA-512': `$pbkdf2-sha512$1769473$${digits(22)}$${digits(86)}`,
    'iterations of Django': `pbkdf2_sha256$9999999999$seasalt2$${digits(43)}=`
  }
  let computations = 0
  const counted = new PasswordHashes({ cost: 4, peppers: [] }, (_seconds, cost) => {
    computations += 1
    t.equal(cost, 4, 'the decoy only')
  })
  for (const [name, stored] of Object.entries(tooCostly)) {
    t.equal(counted.importProblem(stored), 'HASH_TOO_COSTLY', name)
    t.throws(() => parseStoredHash(stored), TooCostlyHashError, name)
    await t.rejects(counted.check(password, stored, signal), TooCostlyHashError, name)
  }
  t.equal(computations, Object.keys(tooCostly).length)
})

t.test('every accepted parameter of scrypt and argon2 at its bounds is computed', async (t) => {
  const accepted = [
    ...[scrypt('ln=15,r=1,p=1'), scrypt('ln=1,r=1,p=1'), scrypt('ln=14,r=8,p=16'), scrypt('ln=10,r=1,p=100')],
    ...[argon2id('v=19$m=8,t=1,p=1'), argon2id('v=19$m=2040,t=1,p=255'), argon2id('v=19$m=64,t=50,p=8')],
    ...[`$pbkdf2-sha256$1$${digits(22)}$${digits(43)}`]
  ]
  for (const stored of accepted) {
    const passwords = createPasswords()
    t.equal(passwords.importProblem(stored), undefined, stored)
    t.match(await passwords.check(password, stored, signal), { matches: false }, stored)
  }
})

t.test('rejects forms and parameters that no library computes', async (t) => {
  const passwords = createPasswords()
  const unsupported = {
    'no hash': '',
    'an account without a password': 'none',
    'plain text': password,
    'MD5 crypt': '$1$abcdefgh$0123456789abcdefghijkl',
    'SHA-512 crypt': '$6$abcdefgh$0123456789abcdefghijkl',
    'bcrypt with a broken version': `$2x$10$${digits(53)}`,
    'bcrypt of cost 3': `$2b$03$${digits(53)}`,
    'bcrypt of cost 32': `$2b$32$${digits(53)}`,
    'bcrypt that is too short': `$2b$10$${digits(52)}`,
    'bcrypt with a line break': `$2b$10$${digits(53)}\n`,
    'bcrypt over SHA-256 of Django': `bcrypt_sha256$$2b$12$${digits(53)}`,
    'argon2 of version 16':
      '$argon2id$v=16$m=1024,t=2,p=1$c2FsdHNhbHQxNmJ5dGVzIQ$mz6XXCBmalLeRUg8jmEwBCPWOY7qPh72+BwGv0FznXQ',
    'argon2 without a version': argon2id('m=1024,t=2,p=1'),
    'argon2 with less memory than lanes': argon2id('v=19$m=8,t=1,p=2'),
    'argon2 without passes': argon2id('v=19$m=1024,t=0,p=1'),
    'argon2 without lanes': argon2id('v=19$m=1024,t=1,p=0'),
    'argon2 with a short salt': argon2id('v=19$m=1024,t=1,p=1', digits(6)),
    'argon2 with a short hash': argon2id('v=19$m=1024,t=1,p=1', digits(22), digits(8)),
    'argon2 with a negative number': argon2id('v=19$m=-1024,t=1,p=1'),
    'argon2 with a very long number': argon2id('v=19$m=1024,t=11111111111111111,p=1'),
    'scrypt with a cost that is no power of two': scrypt('ln=1000,r=8,p=1'),
    'scrypt of cost 1': scrypt('ln=0,r=8,p=1'),
    'scrypt without blocks': scrypt('ln=10,r=0,p=1'),
    'scrypt with more cost than its blocks permit (RFC 7914, 2)': scrypt('ln=16,r=1,p=1'),
    'PBKDF2 of an unknown digest': `$pbkdf2-sha3$2000$${digits(22)}$${digits(43)}`,
    'PBKDF2 of MD5': `$pbkdf2-md5$2000$${digits(22)}$${digits(43)}`,
    'PBKDF2 without iterations': `$pbkdf2-sha256$0$${digits(22)}$${digits(43)}`,
    'PBKDF2 with a short hash': `$pbkdf2-sha256$2000$${digits(22)}$${digits(8)}`,
    'a salt that is not base64': `$pbkdf2-sha256$2000$${'*'.repeat(22)}$${digits(43)}`,
    'better-auth in capitals': `${'A'.repeat(32)}:${'A'.repeat(128)}`,
    'a hash of a pepper that is not configured': `hs384:gone:$2b$04$${digits(53)}`,
    'a very long text': `$pbkdf2-sha256$2000$${digits(22)}$${digits(100_000)}`
  }
  for (const [name, stored] of Object.entries(unsupported)) {
    t.equal(passwords.importProblem(stored), 'HASH_UNSUPPORTED', name)
    await t.rejects(passwords.check(password, stored, signal), UnusableHashError, name)
  }
  t.equal(passwordScheme('none'), 'none')
  t.equal(passwordScheme('x'), 'unknown')
  t.equal(passwordScheme(await passwords.hash(password, signal)), 'bcrypt')
})

t.test(
  'a failed check of an imported hash does the work of any other failed check, to 16 rounds of bcrypt',
  async (t) => {
    let rounds = 0
    const counted = new PasswordHashes({ cost: 12, peppers: [] }, (_seconds, cost) => {
      rounds += 2 ** cost
    })
    const cheapest = [
      { name: 'PBKDF2 of one iteration', stored: `$pbkdf2-sha256$1$${digits(22)}$${digits(43)}` },
      { name: 'argon2 of 8 KiB', stored: argon2id('v=19$m=8,t=1,p=1') },
      { name: 'scrypt of cost 2', stored: scrypt('ln=1,r=1,p=1') }
    ]
    for (const { name, stored } of [...all, ...cheapest, { name: 'bcrypt', stored: hashSync(password, { cost: 5 }) }]) {
      rounds = 0
      await counted.check('wrong password', stored, signal)
      t.ok(Math.abs(rounds - 2 ** 12) <= 16, `${name}: ${rounds}`)
    }
    // More than a hash of the configured cost.
    const cheaper = new PasswordHashes({ cost: 4, peppers: [] }, (_seconds, cost) => {
      rounds += 2 ** cost
    })
    const costly = argon2id('v=19$m=16384,t=3,p=1')
    for (const stored of [costly, undefined, hashSync(password, { cost: 5 })]) {
      rounds = 0
      await cheaper.check('wrong password', stored, signal)
      t.ok(Math.abs(rounds - 2 ** 10) <= 16, `after a more expensive hash: ${rounds}`)
    }
  }
)
