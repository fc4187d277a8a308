/** The lockfiles of npm and pip: the checks that each package has a checksum, and those of npm no known advisory. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import semver from 'semver'
import { parse } from 'yaml'

const root = join(import.meta.dirname, '..')

/** Every lockfile of the project. */
export const lockfiles = [
  'package-lock.json',
  'stack/node/package-lock.json',
  'test/clients/typescript/package-lock.json'
]

/** Every file of requirements of pip. `pip install --require-hashes` checks them. */
export const requirementFiles = ['test/security/schemathesis/requirements.txt', 'test/clients/python/requirements.txt']

/** A package of a lockfile. */
export interface LockedPackage {
  name: string
  version: string
  integrity: string | undefined
}

/** The packages of a lockfile, without the project itself. */
export function packagesOf(lockfile: string): LockedPackage[] {
  const { packages } = JSON.parse(readFileSync(join(root, lockfile), 'utf8')) as {
    packages: Record<string, Omit<LockedPackage, 'name'> & { name?: string; link?: boolean }>
  }
  return Object.entries(packages)
    .filter(([path, { link }]) => path !== '' && !link)
    .map(([path, { name, version, integrity }]) => {
      // An alias has the name of its package; its folder has the name of the alias.
      return { name: name ?? path.replace(/^.*node_modules\//, ''), version, integrity }
    })
}

/**
 * Packages of other platforms whose checksum no registry that the maintainers reach has. They are optional: Linux on x64 with
 * glibc installs none of them. `npm install --package-lock-only` adds their checksums where the registry has them.
 */
export const withoutChecksum = /^@node-rs\/bcrypt-(android|darwin|freebsd|win32|linux-arm|linux-x64-musl)/

/** @throws Error that names the packages without a checksum */
export function requireChecksums(packages: readonly LockedPackage[]): void {
  const missing = packages.filter(
    ({ name, integrity }) => !integrity?.startsWith('sha512-') && !withoutChecksum.test(name)
  )
  if (missing.length > 0) throw new Error(`without a SHA-512: ${missing.map(({ name }) => name).join(', ')}`)
}

const lockedRequirement = /^[\w.-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+$/

/** @throws Error that names the requirements of pip without an exact version or a SHA-256 */
export function requireHashes(requirements: string): void {
  const lines = requirements.replaceAll(/^#.*$/gm, '').replaceAll('\\\n', '').split('\n')
  const unlocked = lines.filter((line) => line.trim() !== '' && !lockedRequirement.test(line))
  if (unlocked.length > 0) throw new Error(`without a version and a SHA-256: ${unlocked.join(', ')}`)
}

interface Advisory {
  id: string
  package: string
  /** A range of versions. */
  vulnerable: string
}

const knownAdvisories = () => parse(readFileSync(join(import.meta.dirname, 'advisories.yml'), 'utf8')) as Advisory[]

/** @throws Error that names the advisories of installed versions */
export function requireNoAdvisory(packages: readonly LockedPackage[], advisories = knownAdvisories()): void {
  const found = packages.flatMap(({ name, version }) =>
    advisories
      .filter((each) => each.package === name && semver.satisfies(version, each.vulnerable))
      .map(({ id }) => `${name}@${version}: ${id}`)
  )
  if (found.length > 0) throw new Error(found.join('\n'))
}
