/** The files of Debian packages that are installed on this machine: what a base image is made from without a registry. */

import { existsSync, lstatSync } from 'node:fs'
import { runTool } from '../../stack/tool.ts'

const documentation = /^\/usr\/(share\/(doc|man|locale|info|bug|lintian)|lib32|libx32)(\/|$)/
// Essential packages depend on them only to be configured.
const notNeeded = /^(perl|perl-modules.*|debconf.*|libperl.*|tzdata|apt|sensible-utils|ucf|default-jre-headless)$/
const merged = /^\/(bin|sbin|lib|lib64)(\/|$)/

/** The paths of all files of the essential packages, of the named ones and of the packages that these depend on. */
export async function filesOfPackages(named: string[], signal: AbortSignal): Promise<string[]> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query replaces the fields
  const format = '${Package}\t${Essential}\t${Pre-Depends}, ${Depends}\t${Provides}\n'
  const rows = (await runTool('dpkg-query', ['--show', `--showformat=${format}`], { signal })).trimEnd().split('\n')
  const packages = new Map<string, string[]>()
  const providers = new Map<string, string>()
  const essential: string[] = []
  for (const row of rows) {
    const [name = '', isEssential, depends = '', provides = ''] = row.split('\t')
    packages.set(name, namesIn(depends))
    for (const virtual of namesIn(provides)) providers.set(virtual, name)
    if (isEssential === 'yes') essential.push(name)
  }
  const wanted = new Set<string>()
  function want(name: string): void {
    const real = packages.has(name) ? name : providers.get(name)
    if (real === undefined || wanted.has(real) || notNeeded.test(real)) return
    wanted.add(real)
    for (const needed of packages.get(real) ?? []) want(needed)
  }
  for (const name of [...essential, ...named]) want(name)
  const listed = await runTool('dpkg', ['--listfiles', ...wanted], { signal })
  const paths = listed
    .split('\n')
    .filter((line) => line.startsWith('/') && line !== '/.')
    .map((path) => (merged.test(path) ? `/usr${path}` : path))
  return [...new Set(['/bin', '/sbin', '/lib', '/lib64', ...paths])].filter(
    (path) => !documentation.test(path) && isThere(path)
  )
}

function namesIn(relations: string): string[] {
  return relations.split(/[,|]/).flatMap((relation) => /[a-z0-9][a-z0-9+.-]+/.exec(relation) ?? [])
}

function isThere(path: string): boolean {
  return existsSync(path) || lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
