/** A certificate authority for one test, by openssl: certificates, expired ones, and a list of revoked ones. */

import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

type Ending = { teardown: (end: () => unknown) => void }

/** The files of a certificate. */
export interface TestCertificate {
  cert: string
  key: string
}

interface Validity {
  from?: string
  until?: string
}

const soon = () => new Date(Date.now() + 86_400_000)
const opensslTime = (date: Date) =>
  `${date
    .toISOString()
    .replaceAll(/[-:T]|\.\d+/g, '')
    .slice(0, 14)}Z`

/** The validity of an expired certificate. */
export const expired: Validity = { from: '20200101000000Z', until: '20200102000000Z' }
/** Names of this machine, for certificates of servers under test. */
export const localHosts = ['DNS:localhost', 'IP:127.0.0.1', 'IP:::1']

export type TestCa = ReturnType<typeof createTestCa>

/** Creates a CA; its folder is removed when the test ends. */
export function createTestCa(t: Ending, name = 'test') {
  const folder = mkdtempSync(join(tmpdir(), 'ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = (path: string) => join(folder, path)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  writeFileSync(file('index.txt'), '')
  writeFileSync(file('ca.cnf'), settings)
  openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', `/CN=${name} CA`, '-days', '30')
  let issued = 0

  /** Issues a certificate for hosts such as `DNS:localhost`, by default the names of this machine. */
  function issue(commonName: string, hosts: readonly string[] = localHosts, validity: Validity = {}): TestCertificate {
    issued += 1
    const [request, cert, key] = ['csr', 'pem', 'key'].map((end) => `${issued}.${end}`) as [string, string, string]
    openssl('req', '-new', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${commonName}`)
    writeFileSync(file('extensions.cnf'), `subjectAltName=${hosts.join(',')}\n`)
    const { from, until = opensslTime(soon()) } = validity
    const dates = [...(from ? ['-startdate', from] : []), '-enddate', until]
    const paths = ['-in', request, '-out', cert, '-extfile', 'extensions.cnf']
    openssl('ca', '-batch', '-notext', '-config', 'ca.cnf', ...dates, ...paths)
    return { cert: file(cert), key: file(key) }
  }

  /** Writes the list of revoked certificates. */
  function list(...revoked: TestCertificate[]): string {
    for (const { cert } of revoked) openssl('ca', '-config', 'ca.cnf', '-revoke', cert)
    openssl('ca', '-config', 'ca.cnf', '-gencrl', '-out', 'new-crl.pem')
    renameSync(file('new-crl.pem'), file('crl.pem'))
    return file('crl.pem')
  }

  return { ca: file('ca.pem'), issue, list, openssl, file }
}

/** Copies files over others, each by a rename, as a certificate manager does. */
export function replaceFiles(from: TestCertificate, to: TestCertificate): void {
  for (const kind of ['key', 'cert'] as const) {
    copyFileSync(from[kind], `${to[kind]}.new`)
    renameSync(`${to[kind]}.new`, to[kind])
  }
}

const settings = `
[ca]
default_ca = own
[own]
database = index.txt
rand_serial = yes
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 1
default_crl_days = 10
policy = names
copy_extensions = none
unique_subject = no
[names]
commonName = supplied
`
