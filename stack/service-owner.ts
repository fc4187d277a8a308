/** The user that runs the services. */

import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join, resolve, sep } from 'node:path'
import { mailDirectory } from '#common/config/mail-section.ts'
import { postgresPemFiles } from '../user-svc/postgres-url.ts'
import type { Config } from './config.ts'
import { logDirectories } from './log-directories.ts'
import { mailUrl } from './mail-settings.ts'
import type { Print } from './supervisor.ts'
import { handOver, isRoot, type SystemUser, serviceUser, systemUser, takeBack, unreachablePath } from './system-user.ts'

const root = join(import.meta.dirname, '..')
const firstOpenPort = 1024
// One file of each part of a checkout, which may have been made under umask 077.
const code = [
  'package.json',
  'gateway/server.ts',
  'common/config/load.ts',
  'gen/log/v1/log_pb.ts',
  'node_modules/pg/package.json'
]

/** The owner of the services and the directory of their compiled code. */
export interface ServiceOwner {
  user: SystemUser
  compileCache: string
}

/**
 * Gives the directories of the services to their user, if root starts them. Undefined: the current user.
 *
 * @param dataDir directories outside it must be writable for the user already
 */
export async function serviceOwner(config: Config, dataDir: string, print: Print): Promise<ServiceOwner | undefined> {
  if (!isRoot()) return undefined
  try {
    const port = [config.gateway.port, config.userSvc.port, config.sessionSvc.port].find(
      (each) => each > 0 && each < firstOpenPort
    )
    if (port !== undefined) throw new Error(`only root listens on port ${port}`)
    const user = await systemUser(serviceUser)
    const files = [process.execPath, ...code.map((path) => join(root, path)), ...configuredFiles(config)]
    const unreachable = await unreachablePath(user, [dataDir, ...files])
    if (unreachable !== undefined) throw new Error(`the user ${serviceUser} cannot read ${unreachable}`)
    for (const directory of directories(config)) await giveDirectory(directory, dataDir, user)
    const compileCache = join(root, '.tools', `compile-cache-${serviceUser}`)
    await handOver(compileCache, user)
    return { user, compileCache }
  } catch (error) {
    print(`the services run as root: ${(error as Error).message}`)
    for (const directory of directories(config)) if (directory.startsWith(dataDir + sep)) await takeBack(directory)
    return undefined
  }
}

function directories(config: Config): string[] {
  const { collected, spool } = logDirectories(config)
  const mail = mailDirectory(mailUrl(config))
  return [collected, spool, ...(mail === undefined ? [] : [mail])].map((directory) => resolve(directory))
}

async function giveDirectory(directory: string, dataDir: string, user: SystemUser): Promise<void> {
  if (directory.startsWith(dataDir + sep)) return handOver(directory, user)
  // It may be shared with other programs.
  mkdirSync(directory, { recursive: true })
  if (statSync(directory).uid !== user.uid) throw new Error(`${directory} does not belong to the user ${serviceUser}`)
}

/** The files that the configuration names: certificates, secrets, templates. */
function configuredFiles(config: Config): string[] {
  const { gateway, rpc, redis, kafka, mail, userSvc } = config
  const pem = [gateway.tls, rpc.tls, redis.tls, kafka.tls].flatMap((tls) => {
    const { ca = '', cert = '', key = '', crl = '' } = tls as Record<string, string | undefined>
    return [ca, cert, key, crl]
  })
  const ofUrls = [userSvc.postgres.url, userSvc.postgres.migrationUrl].flatMap((url) =>
    Object.values(postgresPemFiles(url))
  )
  const ofVariables = Object.entries(process.env)
    .filter(([name]) => /_FILE$|^NODE_EXTRA_CA_CERTS$/.test(name))
    .map(([, path]) => path ?? '')
  const others = [mail.templates, userSvc.password.breachList.directory, process.env.CONFIG_FILE || 'config.yml']
  return [...pem, ...ofUrls, ...ofVariables, ...others]
    .filter((path) => path !== '' && path !== '/dev/null' && existsSync(path))
    .map((path) => resolve(path))
}
