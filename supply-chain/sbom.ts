/** `make sbom`: writes the bill of materials of a release as CycloneDX JSON. */

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { runTool } from '../stack/tool.ts'

const root = join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')

interface Component {
  'bom-ref': string
  type: string
  name: string
  version: string
  purl: string
  hashes?: { alg: string; content: string }[]
}

/** The packages of npm that the services run, the images of the Dockerfile and of both Compose files, and the jars of Kafka. */
export async function billOfMaterials(signal?: AbortSignal) {
  const args = [
    'sbom',
    '--sbom-format',
    'cyclonedx',
    '--package-lock-only',
    '--omit',
    'dev',
    '--sbom-type',
    'application'
  ]
  const output = await runTool('npm', args, { cwd: root, ...(signal && { signal }) })
  const bill = JSON.parse(output) as { components: Component[]; metadata: { component: Component } }
  const { name } = JSON.parse(read('package.json')) as { name: string }
  bill.metadata.component.name = name
  bill.components.push(...images().map(imageComponent), ...jars())
  return bill
}

/** The images that are not built from this project. */
export function images(): string[] {
  const [, base = ''] = /^FROM (\S+)/m.exec(read('Dockerfile')) ?? []
  const composed = ['compose.yaml', 'compose.two.yaml'].flatMap((file) => Object.values(servicesOf(file)))
  const foreign = composed.map(({ image = '' }) => image).filter((image) => !image.startsWith('auth-backend:'))
  return [...new Set([base, ...foreign])].filter((image) => image !== '')
}

function servicesOf(composeFile: string): Record<string, { image?: string }> {
  const customTags = [{ tag: '!reset', collection: 'seq' as const }]
  return parse(read(composeFile), { merge: true, customTags }).services
}

function imageComponent(image: string): Component {
  const [, name = '', version = ''] = /^([^:@]+):([^@]+)/.exec(image) ?? []
  return { 'bom-ref': image, type: 'container', name, version, purl: `pkg:docker/${name}@${version}` }
}

/** What `make run` starts as Kafka where there is no Docker. */
function jars(): Component[] {
  return read('stack/kafka/jars.sha256')
    .trim()
    .split('\n')
    .map((line) => {
      const [content = '', file = ''] = line.split('  ')
      const [, name = '', version = ''] = /^(.+?)-(\d.*)\.jar$/.exec(file) ?? []
      const hashes = [{ alg: 'SHA-256', content }]
      return { 'bom-ref': file, type: 'library', name, version, purl: `pkg:generic/${name}@${version}`, hashes }
    })
}

if (process.argv[1] === import.meta.filename) {
  const file = 'sbom.cdx.json'
  const bill = await billOfMaterials()
  writeFileSync(file, `${JSON.stringify(bill, null, 2)}\n`)
  console.log(`${file}: ${bill.components.length} components`)
}
