/** PEM files: what is rejected, what is read again, when they expire. */

import { copyFileSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { createPemSource, expiries, PemError } from '#common/tls/pem-source.ts'

const ca = createTestCa(t)
const first = ca.issue('first')
const second = ca.issue('second')
const other = createTestCa(t, 'other')
const nameOf = (kind: string) => `rpc.tls.${kind}`

t.test('rejects files that cannot be used, by their names', async (t) => {
  const garbage = ca.file('garbage.pem')
  writeFileSync(garbage, 'hunter2')
  const cases = [
    [{ cert: first.cert }, 'rpc.tls.key: is missing; takes the private key of rpc.tls.cert'],
    [{ key: first.key }, 'rpc.tls.cert: is missing; takes the certificate of rpc.tls.key'],
    [{ cert: first.cert, key: second.key }, 'rpc.tls.cert: does not belong to the key in rpc.tls.key'],
    [{ cert: garbage, key: first.key }, 'rpc.tls.cert: is no certificate in PEM format'],
    [{ cert: first.cert, key: garbage }, 'rpc.tls.key: is no private key without a passphrase in PEM format'],
    [{ ca: garbage }, 'rpc.tls.ca: is no certificate in PEM format'],
    [{ crl: garbage }, 'rpc.tls.crl: is no list of revoked certificates in PEM format'],
    [{ ca: '/nowhere' }, 'rpc.tls.ca: cannot be read (ENOENT)']
  ] as const
  for (const [files, message] of cases) {
    t.throws(() => createPemSource(files, nameOf), new PemError(message), message)
  }
  t.same(createPemSource({ ca: '', cert: '' }).current(), {})
})

t.test('checks each block of a file with several CAs or lists', async (t) => {
  const [ownCa, otherCa, ownList, otherList] = [ca.ca, other.ca, ca.list(), other.list()].map((path) =>
    readFileSync(path, 'utf8')
  ) as [string, string, string, string]
  const cases = [
    ['ca', otherCa.replaceAll('M', '*'), 'rpc.tls.ca: block 2: is no certificate in PEM format'],
    ['ca', otherCa.replace('-----BEGIN', '----BEGIN'), 'rpc.tls.ca: block 2: is no certificate in PEM format'],
    ['ca', otherCa.slice(0, 200), 'rpc.tls.ca: block 2: is no certificate in PEM format'],
    ['ca', otherList, 'rpc.tls.ca: block 2: is no certificate in PEM format'],
    ['crl', otherList.replaceAll('M', '*'), 'rpc.tls.crl: block 2: is no list of revoked certificates in PEM format'],
    [
      'crl',
      readFileSync(ca.list(first), 'utf8'),
      'rpc.tls.crl: has two lists of one issuer; takes one list of revoked certificates for each CA'
    ]
  ] as const
  const path = ca.file('several.pem')
  for (const [kind, second, message] of cases) {
    writeFileSync(path, `# First - one\n${kind === 'ca' ? ownCa : ownList}# Second - one\n${second}`)
    t.throws(() => createPemSource({ [kind]: path }, nameOf), new PemError(message), message)
  }
  const crl = ca.file('lists.pem')
  writeFileSync(path, `${ownCa}\n# Other - one\r\n${otherCa.replaceAll('\n', '\r\n')}\n`)
  other.openssl('ca', '-config', 'ca.cnf', '-gencrl', '-crldays', '3', '-out', 'short.pem')
  writeFileSync(crl, `${ownList}# Other - one\n${readFileSync(other.file('short.pem'), 'utf8')}\n`)
  const pem = createPemSource({ ca: path, crl }).current()
  t.same(
    expiries(pem).map(({ file, expiresAt }) => [file, Math.round((expiresAt.getTime() - Date.now()) / 86_400_000)]),
    [
      ['ca', 30],
      ['crl', 3]
    ]
  )
})

t.test('reads replaced files, and keeps the previous ones while the new ones cannot be used', async (t) => {
  const used = { cert: ca.file('used.pem'), key: ca.file('used.key') }
  replaceFiles(first, used)
  const source = createPemSource(used)
  const before = source.current()
  t.equal(source.refresh(), false)
  t.equal(source.current(), before)
  copyFileSync(second.cert, used.cert)
  t.throws(() => source.refresh(), PemError)
  t.equal(source.current(), before, 'the certificate of another key is not used')
  copyFileSync(second.key, used.key)
  t.equal(source.refresh(), true)
  t.not(source.current(), before)
})

t.test('follows a symbolic link to a new folder, as Kubernetes replaces secrets', async (t) => {
  const folder = ca.file('mounted')
  for (const [name, files] of Object.entries({ a: first, b: second })) {
    mkdirSync(join(folder, name), { recursive: true })
    replaceFiles(files, { cert: join(folder, name, 'tls.crt'), key: join(folder, name, 'tls.key') })
  }
  symlinkSync('a', join(folder, '..data'))
  for (const file of ['tls.crt', 'tls.key']) symlinkSync(`..data/${file}`, join(folder, file))
  const source = createPemSource({ cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') })
  symlinkSync('b', join(folder, '..next'))
  renameSync(join(folder, '..next'), join(folder, '..data'))
  t.equal(source.refresh(), true)
})

t.test('knows when certificates and lists of revoked ones expire', async (t) => {
  const old = ca.issue('old', undefined, expired)
  const found = expiries(createPemSource({ ...old, ca: ca.ca, crl: ca.list(second) }).current())
  const days = (file: string) => {
    const { expiresAt } = found.find((each) => each.file === file) as { expiresAt: Date }
    return Math.round((expiresAt.getTime() - Date.now()) / 86_400_000)
  }
  t.equal(found.find(({ file }) => file === 'cert')?.expiresAt.toISOString(), '2020-01-02T00:00:00.000Z')
  t.equal(days('ca'), 30)
  t.equal(days('crl'), 10)
})
