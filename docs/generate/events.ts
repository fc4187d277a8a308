/** The reference of the account events, from their contract, its comments and the types of outbox rows. */

import { FieldDescriptorProto_Type } from '@bufbuild/protobuf/wkt'
import { accountEventTypes, eventOf } from '../../user-svc/outbox/account-event-types.ts'
import { cell, commentsOf, contracts, inFile, inMessage } from './rpc.ts'

const file = 'user/v1/events.proto'

/** The envelope, then a section for each type of event. */
export function eventSections(): string {
  const contract = contracts().find(({ name }) => name === file)
  if (contract === undefined) throw new Error(`there is no contract ${file}`)
  const comments = commentsOf(contract)
  const ids = idsByType()
  const sections = contract.messageType.map(({ name, field }, index) => {
    const path = `${inFile.messages},${index}`
    const id = ids.get(`${contract.package}.${name}`)
    if (id === undefined) throw new Error(`user-svc publishes no ${name}`)
    const rows = field.map((each, at) => {
      const type = each.typeName.endsWith('.Timestamp')
        ? 'RFC 3339'
        : FieldDescriptorProto_Type[each.type]?.toLowerCase()
      const meaning = cell(comments.get(`${path},${inMessage.fields},${at}`))
      return `| \`${each.jsonName}\` | ${type} | ${meaning} |`
    })
    const table = ['| field of `data` | type | meaning |', '|---|---|---|', ...rows].join('\n')
    return `## \`${contract.package}.${name}\`\n\n${comments.get(path)}\n\nId: \`${id}\`.\n\n${table}`
  })
  return [comments.get(String(inFile.syntax)), ...sections].join('\n\n')
}

/** The form of the ids of each type. */
function idsByType(): Map<string, string> {
  const row = { id: 0n, userId: '<user id>', sessionEpoch: 1n, payload: {}, createdAt: new Date(0) }
  return new Map(
    accountEventTypes.map((type) => {
      const { id, schema } = eventOf({ ...row, type, attempts: 0, revokedAt: null })
      return [schema.typeName, id.replace(/\/0$/, '/<number>')]
    })
  )
}
