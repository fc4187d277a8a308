/** `grpc.reflection`: lets `grpcurl` and `buf curl` list, describe and call the services with no file at hand. */

import { create, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { Code, type ConnectRouter } from '@connectrpc/connect'
import { file_google_rpc_error_details } from '#gen/google/rpc/error_details_pb.ts'
import { file_grpc_health_v1_health, Health } from '#gen/grpc/health/v1/health_pb.ts'
import {
  file_grpc_reflection_v1_reflection,
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionResponseSchema
} from '#gen/grpc/reflection/v1/reflection_pb.ts'
import { ServerReflection as ServerReflectionAlpha } from '#gen/grpc/reflection/v1alpha/reflection_pb.ts'

/** Adds reflection in both of its versions, which differ in name only. */
export function reflectionRoutes(router: ConnectRouter, services: DescService[], files: DescFile[]): void {
  const known = withImports([
    ...files,
    file_google_rpc_error_details,
    file_grpc_health_v1_health,
    file_grpc_reflection_v1_reflection
  ])
  const names = [...services, Health, ServerReflection].map((service) => service.typeName)

  function answer(request: Pick<ServerReflectionRequest, 'messageRequest'>) {
    const asked = request.messageRequest
    switch (asked.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: names.map((name) => ({ name })) } } as const
      case 'fileByFilename':
        return fileResponse(known.find((file) => file.proto.name === asked.value))
      case 'fileContainingSymbol':
        return fileResponse(known.find((file) => symbolsOf(file).has(asked.value)))
      default:
        return failure(Code.Unimplemented, 'There are no extensions here.')
    }
  }
  async function* serverReflectionInfo(
    requests: AsyncIterable<Pick<ServerReflectionRequest, 'host' | 'messageRequest'>>
  ) {
    for await (const request of requests) {
      yield create(ServerReflectionResponseSchema, { validHost: request.host, messageResponse: answer(request) })
    }
  }
  router.service(ServerReflection, { serverReflectionInfo })
  router.service(ServerReflectionAlpha, {
    // The messages of both versions are the same but for the package.
    serverReflectionInfo: serverReflectionInfo as never
  })
}

function fileResponse(file: DescFile | undefined) {
  if (file === undefined) return failure(Code.NotFound, 'There is no such file or symbol here.')
  const fileDescriptorProto = withImports([file]).map((each) => toBinary(FileDescriptorProtoSchema, each.proto))
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } } as const
}

function failure(errorCode: Code, errorMessage: string) {
  return { case: 'errorResponse', value: { errorCode, errorMessage } } as const
}

function withImports(files: DescFile[]): DescFile[] {
  const found = new Set<DescFile>()
  const visit = (file: DescFile) => {
    if (found.has(file)) return
    found.add(file)
    file.dependencies.forEach(visit)
  }
  files.forEach(visit)
  return [...found]
}

function symbolsOf(file: DescFile): Set<string> {
  const services = file.services.flatMap((service) => [
    service.typeName,
    ...service.methods.flatMap((method) => [`${service.typeName}.${method.name}`, `${service.typeName}/${method.name}`])
  ])
  return new Set([
    ...services,
    ...file.messages.map(messageName),
    ...file.enums.map(({ typeName }) => typeName),
    ...nested(file)
  ])
}

const messageName = ({ typeName }: { typeName: string }) => typeName

function nested(parent: Pick<DescFile, 'messages'>): string[] {
  return parent.messages.flatMap((message) => [
    message.typeName,
    ...message.nestedEnums.map(messageName),
    ...nested({ messages: message.nestedMessages })
  ])
}
