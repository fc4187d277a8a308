/** The access rules (ACLs) of Kafka's users: each service writes or reads its own topics, and all else is denied. */

import type { AclEntry, Admin } from 'kafkajs'

// The numbers of Kafka's protocol. The import of kafkajs takes a tenth of a second.
const operations = { READ: 3, WRITE: 4, CREATE: 5 }
const resourceTypes = { TOPIC: 2, GROUP: 3 }
const permissions = { DENY: 2, ALLOW: 3 }
const [any, literal] = [1, 3]

/** The topics and the consumer group that the rules name. */
export interface KafkaNames {
  logs: string
  accountEvents: string
  /** The group of log-sink. */
  group: string
}

/** The names in the configuration. */
export function kafkaNames(config: {
  kafka: { logs: { topic: string }; accountEvents: { topic: string } }
  logSink: { group: string }
}): KafkaNames {
  return {
    logs: config.kafka.logs.topic,
    accountEvents: config.kafka.accountEvents.topic,
    group: config.logSink.group
  }
}

function rule(
  user: string,
  operation: keyof typeof operations,
  resource: keyof typeof resourceTypes,
  resourceName: string,
  permission: keyof typeof permissions = 'ALLOW'
): AclEntry {
  return {
    principal: `User:${user}`,
    host: '*',
    operation: operations[operation],
    permissionType: permissions[permission],
    resourceType: resourceTypes[resource],
    resourceName,
    resourcePatternType: literal
  }
}

/** The rules of all users. Write, read and create include describe. */
export function accessRules({ logs, accountEvents, group }: KafkaNames): AclEntry[] {
  return [
    ...['gateway', 'user-svc', 'session-svc', 'log-sink'].map((user) => rule(user, 'WRITE', 'TOPIC', logs)),
    rule('log-sink', 'CREATE', 'TOPIC', logs),
    rule('log-sink', 'READ', 'TOPIC', logs),
    rule('log-sink', 'READ', 'GROUP', group),
    rule('user-svc', 'CREATE', 'TOPIC', accountEvents),
    rule('user-svc', 'WRITE', 'TOPIC', accountEvents),
    rule('consumer', 'READ', 'TOPIC', accountEvents),
    // Consumers choose the names of their groups. As a member of the group of log-sink, one would take partitions from it.
    rule('consumer', 'READ', 'GROUP', '*'),
    rule('consumer', 'READ', 'GROUP', group, 'DENY')
  ]
}

const all = { resourceType: any, resourcePatternType: any, operation: any, permissionType: any }

/** Makes the rules of these users exactly those. Rules of other users stay. */
export async function grantAccess(admin: Admin, wanted: AclEntry[]): Promise<void> {
  const principals = new Set(wanted.map(({ principal }) => principal))
  const { resources } = await admin.describeAcls(all as Parameters<Admin['describeAcls']>[0])
  const present = resources
    .flatMap(({ acls, ...resource }) => acls.map((acl): AclEntry => ({ ...resource, ...acl })))
    .filter(({ principal }) => principals.has(principal))
  const missing = without(wanted, present)
  const obsolete = without(present, wanted)
  if (missing.length > 0) await admin.createAcls({ acl: missing })
  if (obsolete.length > 0) await admin.deleteAcls({ filters: obsolete })
}

function without(rules: AclEntry[], others: AclEntry[]): AclEntry[] {
  const textOf = (entry: AclEntry) => JSON.stringify(Object.entries(entry).sort())
  const texts = new Set(others.map(textOf))
  return rules.filter((each) => !texts.has(textOf(each)))
}
