/** `grpc.reflection`: lets `grpcurl` and `buf curl` list, describe and call the services without local contract files. */

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
import { indexSymbols } from './reflection-symbols.ts'

/** Adds both versions of reflection, which differ only in their package. */
export function reflectionRoutes(router: ConnectRouter, services: DescService[], files: DescFile[]): void {
  const known = withImports([
    ...files,
    file_google_rpc_error_details,
    file_grpc_health_v1_health,
    file_grpc_reflection_v1_reflection
  ])
  const symbols = indexSymbols(known)
  const names = [...services, Health, ServerReflection].map((service) => service.typeName)

  function answer(request: Pick<ServerReflectionRequest, 'messageRequest'>) {
    const asked = request.messageRequest
    switch (asked.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: names.map((name) => ({ name })) } } as const
      case 'fileByFilename':
        return fileResponse(known.find((file) => file.proto.name === asked.value))
      case 'fileContainingSymbol':
        return fileResponse(symbols.fileOf(asked.value))
      case 'fileContainingExtension':
        return fileResponse(symbols.fileOfExtension(asked.value.containingType, asked.value.extensionNumber))
      case 'allExtensionNumbersOfType': {
        const extensionNumber = symbols.extensionNumbers(asked.value)
        if (extensionNumber === undefined) return failure(Code.NotFound, 'There is no such message here.')
        const value = { baseTypeName: asked.value, extensionNumber }
        return { case: 'allExtensionNumbersResponse', value } as const
      }
      default:
        return failure(Code.InvalidArgument, 'The request names nothing to look up.')
    }
  }
  async function* serverReflectionInfo(requests: AsyncIterable<ServerReflectionRequest>) {
    for await (const request of requests) {
      const validHost = request.host
      yield create(ServerReflectionResponseSchema, {
        validHost,
        originalRequest: request,
        messageResponse: answer(request)
      })
    }
  }
  router.service(ServerReflection, { serverReflectionInfo })
  router.service(ServerReflectionAlpha, {
    // Both versions have the same messages.
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
