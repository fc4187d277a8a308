/** The message of PostgreSQL or Redis about a failure, if it cannot contain a secret, and the remedy. Readiness and logs show both. */

interface EngineReason {
  /** The engine's message, without passwords, URLs and arguments of commands. */
  message: string
  /** The operator's remedy. */
  remedy: string | undefined
}

// Error codes of Redis whose messages contain only constants and the names of users and commands.
const redisRemedies: Record<string, string> = {
  WRONGPASS: 'check the user and the password in redis.url',
  NOAUTH: 'redis.url needs a password',
  NOPERM: "grant this to the product's user (ACL SETUSER); docs/operate/deploy.md lists the permissions",
  DENIED: 'the server is in protected mode: give it a password, or bind it to its own network',
  MISCONF: 'give Redis a disk that it can write to; until then it refuses writes',
  OOM: 'raise maxmemory, or remove other data',
  READONLY: 'redis.url must lead to the master',
  MASTERDOWN: 'redis.url must lead to the master',
  NOREPLICAS: 'bring the replicas back, or lower min-replicas-to-write',
  LOADING: 'wait until the server has loaded its data',
  BUSY: 'end the script that blocks the server (SCRIPT KILL)',
  CLUSTERDOWN: 'bring back the masters of the missing slots',
  UNBLOCKED: 'the server became a replica',
  TRYAGAIN: 'wait until the slot has moved',
  WRONGTYPE: "give the product a database of its own, and remove the other program's key",
  NOSCRIPT: 'the server lost a script while it was called'
}

// Other messages of Redis quote arguments: show only their constant part.
const redisErrors: [pattern: RegExp, remedy: string][] = [
  [/^ERR max number of clients reached/, 'raise maxclients, or close other connections'],
  [/^ERR unknown (sub)?command '?[\w|]+/, 'allow the command; a server older than Redis 7.0 lacks some'],
  // NOPERM for a command in a script: Redis 7.0, later versions.
  [/^ERR The user executing the script can't [a-z ]+(?= script: )/, redisRemedies.NOPERM as string],
  [/^ERR ACL failure in script: [\w ]+'?[\w|]*'?[\w ]*/, redisRemedies.NOPERM as string],
  [/^ERR Unknown Redis command called from script/, 'allow TIME, GET, SET and the commands of hashes'],
  [/^ERR Error compiling script/, 'the product needs Redis 7.0 or newer, or Valkey']
]

// SQLSTATE classes whose messages quote no value of a statement (connection, authorization, catalog, resources, object
// state, operator intervention, system), and single codes.
const postgresMessages = /^(08|28|3D|53|55|57|58)...$|^(25006|42501|42P01)$/
const postgresRemedies: [codes: RegExp, remedy: string][] = [
  [/^28/, 'check the user and the password in userSvc.postgres.url, and pg_hba.conf'],
  [/^3D/, 'create the database, or correct its name in userSvc.postgres.url'],
  [/^53100/, 'free disk space'],
  [/^53300/, 'raise max_connections, or close other connections'],
  [/^25006/, 'userSvc.postgres.url must lead to the primary'],
  [/^42501/, 'grant this to the role']
]

const redisReplies = new Set(['SimpleError', 'BlobError', 'ErrorReply'])

const maxLength = 200

/** Undefined if the error is not an engine's, or if its message may contain a secret. */
export function engineReason(error: unknown): EngineReason | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  if (typeof severity === 'string' && typeof code === 'string') return postgresReason(code, error.message)
  return redisReplies.has(error.constructor.name) ? redisReason(error.message) : undefined
}

function postgresReason(code: string, message: string): EngineReason | undefined {
  if (!postgresMessages.test(code)) return undefined
  const [, remedy] = postgresRemedies.find(([codes]) => codes.test(code)) ?? []
  return { message: shortened(`${code} ${message}`), remedy }
}

function redisReason(message: string): EngineReason | undefined {
  const word = /^[A-Z]{3,}(?= )/.exec(message)?.[0] ?? ''
  if (Object.hasOwn(redisRemedies, word)) return { message: shortened(message), remedy: redisRemedies[word] }
  for (const [pattern, remedy] of redisErrors) {
    const constant = pattern.exec(message)?.[0]
    if (constant !== undefined) return { message: constant, remedy }
  }
  return undefined
}

function shortened(message: string): string {
  const line = message
    .replaceAll(/\s+/g, ' ')
    .replace(/\.? script: \w+, on @.*$/, '')
    .trim()
  return line.length > maxLength ? `${line.slice(0, maxLength)}…` : line
}
