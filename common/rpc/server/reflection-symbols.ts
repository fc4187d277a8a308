/** An index of the symbols and extensions that contract files declare, for `grpc.reflection`. */

import type { DescFile } from '@bufbuild/protobuf'
import type {
  DescriptorProto,
  EnumDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto
} from '@bufbuild/protobuf/wkt'

/** An extension: the full name of the message that it extends, and its field number. */
interface Extension {
  extendee: string
  number: number
}

/** Symbols by their full names, without a leading dot. */
interface Symbols {
  fileOf(symbol: string): DescFile | undefined
  fileOfExtension(extendee: string, number: number): DescFile | undefined
  /** In ascending order; undefined if there is no such message. */
  extensionNumbers(extendee: string): number[] | undefined
}

/** Indexes all kinds of symbols. */
export function indexSymbols(files: DescFile[]): Symbols {
  const symbols = new Map<string, DescFile>()
  const messages = new Set<string>()
  const extensions: (Extension & { file: DescFile })[] = []
  for (const file of files) {
    for (const symbol of symbolsOf(file.proto)) symbols.set(symbol, file)
    for (const message of messagesIn('', file.proto)) messages.add(message.name)
    extensions.push(...extensionsOf(file.proto).map((extension) => ({ ...extension, file })))
  }
  return {
    fileOf: (symbol) => symbols.get(symbol),
    fileOfExtension: (extendee, number) =>
      extensions.find((each) => each.extendee === extendee && each.number === number)?.file,
    extensionNumbers(extendee) {
      if (!messages.has(extendee)) return undefined
      return extensions
        .filter((each) => each.extendee === extendee)
        .map(({ number }) => number)
        .sort((a, b) => a - b)
    }
  }
}

const join = (scope: string, name: string) => (scope === '' ? name : `${scope}.${name}`)

interface Scope {
  messageType?: DescriptorProto[]
  nestedType?: DescriptorProto[]
  package?: string
}

/** All messages of a file, nested ones and map entries included. */
function messagesIn(scope: string, parent: Scope): { name: string; proto: DescriptorProto }[] {
  return (parent.messageType ?? parent.nestedType ?? []).flatMap((proto) => {
    const name = join(scope || (parent.package ?? ''), proto.name)
    return [{ name, proto }, ...messagesIn(name, proto)]
  })
}

function symbolsOf(file: FileDescriptorProto): string[] {
  const scope = file.package
  return [
    ...file.enumType.flatMap((each) => enumSymbols(scope, each)),
    ...named(scope, file.extension),
    ...file.service.flatMap((service) => {
      const name = join(scope, service.name)
      return [name, ...service.method.flatMap((method) => [`${name}.${method.name}`, `${name}/${method.name}`])]
    }),
    ...messagesIn('', file).flatMap(({ name, proto }) => [
      name,
      ...named(name, proto.field),
      ...named(name, proto.oneofDecl),
      ...named(name, proto.extension),
      ...proto.enumType.flatMap((each) => enumSymbols(name, each))
    ])
  ]
}

const named = (scope: string, protos: { name: string }[]) => protos.map(({ name }) => join(scope, name))

/** The values of an enum are siblings of the enum: `google.protobuf.NULL_VALUE`. */
function enumSymbols(scope: string, { name, value }: EnumDescriptorProto): string[] {
  return [join(scope, name), ...named(scope, value)]
}

function extensionsOf(file: FileDescriptorProto): Extension[] {
  const declared: FieldDescriptorProto[] = [
    ...file.extension,
    ...messagesIn('', file).flatMap(({ proto }) => proto.extension)
  ]
  return declared.map(({ extendee, number }) => ({ extendee: extendee.replace(/^\./, ''), number }))
}
