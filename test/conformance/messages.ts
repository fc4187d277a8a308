/** The messages of connectrpc.conformance.v1 that the server handles. They are described at run time, by the protos of the Go module. */

import { readFileSync } from 'node:fs'
import {
  createFileRegistry,
  type DescMessage,
  type DescService,
  type FileRegistry,
  fromBinary,
  type Message
} from '@bufbuild/protobuf'
import { type Any, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'

const packageName = 'connectrpc.conformance.v1'

export interface Header {
  name: string
  value: string[]
}

export interface ErrorDefinition {
  code: number
  message?: string
  details: Any[]
}

export interface UnaryDefinition {
  responseHeaders: Header[]
  responseTrailers: Header[]
  responseDelayMs: number
  response:
    | { case: 'responseData'; value: Uint8Array }
    | { case: 'error'; value: ErrorDefinition }
    | { case: undefined }
}

export interface StreamDefinition extends Omit<UnaryDefinition, 'response'> {
  responseData: Uint8Array[]
  error?: ErrorDefinition
}

/** A request with the definition of its response. */
export type Defined<Definition> = Message & { responseDefinition?: Definition; fullDuplex?: boolean }

/** What the runner requires of a server. */
export interface ServerRequest {
  useTls: boolean
  clientTlsCert: Uint8Array
  messageReceiveLimit: number
  serverCreds?: { cert: Uint8Array; key: Uint8Array }
}

export interface Messages {
  registry: FileRegistry
  service: DescService
  message: (name: string) => DescMessage
}

/** @param path the descriptors that `buf build` has written */
export function readMessages(path: string): Messages {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(path)))
  const service = registry.getService(`${packageName}.ConformanceService`)
  if (service === undefined) throw new Error(`${path} does not describe ${packageName}.ConformanceService`)
  return {
    registry,
    service,
    message(name) {
      const found = registry.getMessage(`${packageName}.${name}`)
      if (found === undefined) throw new Error(`${path} does not describe ${packageName}.${name}`)
      return found
    }
  }
}
