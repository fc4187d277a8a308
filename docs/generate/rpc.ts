/** The reference of the RPCs and messages, from the contracts and their comments. */

import { execFileSync } from 'node:child_process'
import { fromBinary } from '@bufbuild/protobuf'
import {
  type DescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel
} from '@bufbuild/protobuf/wkt'

/** The comments of a file by the path of their declaration, such as `4,0,2,1`: message 0, field 1. */
export type Comments = Map<string, string>

// The field numbers of FileDescriptorProto, DescriptorProto, EnumDescriptorProto and ServiceDescriptorProto.
export const [inFile, inMessage] = [{ package: 2, messages: 4, enums: 5, services: 6, syntax: 12 }, { fields: 2 }]

/** One section for each file, in their order, except the events. */
export function rpcSections(): string {
  return contracts()
    .filter(({ name }) => name !== 'user/v1/events.proto')
    .map(fileSection)
    .join('\n\n')
}

/** The descriptors of the contracts, sorted by name. */
export function contracts(): FileDescriptorProto[] {
  const image = execFileSync('buf', ['build', 'proto', '--as-file-descriptor-set', '--output', '-'], {
    maxBuffer: 2 ** 24
  })
  return fromBinary(FileDescriptorSetSchema, image)
    .file.filter(({ name }) => /^(session|user|log)\//.test(name))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

export function commentsOf(file: FileDescriptorProto): Comments {
  return new Map(
    (file.sourceCodeInfo?.location ?? []).map(({ path, leadingComments, leadingDetachedComments }) => [
      path.join(),
      [...leadingDetachedComments, leadingComments].map(text).filter(Boolean).join('\n\n')
    ])
  )
}

function fileSection(file: FileDescriptorProto): string {
  const comments = commentsOf(file)
  const services = file.service.map((service, index) => {
    const path = `${inFile.services},${index}`
    const methods = service.method.map((method, at) => {
      const level = MethodOptions_IdempotencyLevel[method.options?.idempotencyLevel ?? 0]
      const types = `\`${short(method.inputType)}\` → \`${short(method.outputType)}\`, idempotency \`${level}\``
      return `#### \`${service.name}/${method.name}\`\n\n${types}\n\n${comments.get(`${path},2,${at}`) ?? ''}`
    })
    return [`### \`${file.package}.${service.name}\``, comments.get(path) ?? '', ...methods].join('\n\n')
  })
  const messages = file.messageType.map((message, index) =>
    messageSection(message, `${inFile.messages},${index}`, comments)
  )
  const enums = file.enumType.map(({ name, value }, index) => {
    const path = `${inFile.enums},${index}`
    const rows = value.map((each, at) => `| \`${each.name}\` | ${cell(comments.get(`${path},2,${at}`))} |`)
    return `#### \`${name}\`\n\n${comments.get(path) ?? ''}\n\n${['| value | meaning |', '|---|---|', ...rows].join('\n')}`
  })
  const opening = comments.get(String(inFile.syntax)) ?? ''
  const title = `## [\`${file.name}\`](../../proto/${file.name})`
  const types = messages.length > 0 ? [`### Messages of \`${file.name}\``] : []
  return [title, opening, ...services, ...types, ...messages, ...enums].join('\n\n')
}

function messageSection({ name, field }: DescriptorProto, path: string, comments: Comments): string {
  const rows = field.map((each, index) => {
    const scalar = FieldDescriptorProto_Type[each.type]?.toLowerCase()
    const type = each.typeName ? short(each.typeName) : scalar
    const repeated = each.label === FieldDescriptorProto_Label.REPEATED ? 'repeated ' : ''
    return `| \`${each.name}\` | ${repeated}\`${type}\` | ${cell(comments.get(`${path},${inMessage.fields},${index}`))} |`
  })
  const table = rows.length > 0 ? ['| field | type | meaning |', '|---|---|---|', ...rows].join('\n') : 'No fields.'
  return `#### \`${name}\`\n\n${comments.get(path) ?? ''}\n\n${table}`
}

const short = (type: string) => type.replace(/^\./, '').replace('google.protobuf.', '')
const text = (comment: string) => comment.replaceAll(/^ /gm, '').trim()
export const cell = (comment = '') => comment.replaceAll('\n', ' ').replaceAll('|', '\\|')
