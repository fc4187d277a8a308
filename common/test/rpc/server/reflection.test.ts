/** `grpc.reflection`: every kind of symbol and extension is resolved as grpc-go and grpc-java resolve it. */

import { create, createFileRegistry } from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type
} from '@bufbuild/protobuf/wkt'
import { Code, createClient, createRouterTransport } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { reflectionRoutes } from '#common/rpc/server/reflection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema
} from '#gen/grpc/reflection/v1/reflection_pb.ts'
import { file_session_v1_session, SessionService } from '#gen/session/v1/session_pb.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'

const extension = { label: Label.OPTIONAL, type: Type.STRING }
/** Extensions and scopes that the contracts of the product do not have. */
const samples = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: [
      create(FileDescriptorProtoSchema, {
        name: 'sample.proto',
        package: 'sample',
        syntax: 'proto2',
        messageType: [
          {
            name: 'Base',
            extensionRange: [{ start: 100, end: 200 }],
            nestedType: [{ name: 'Inner', field: [{ name: 'deep', number: 1, ...extension }] }],
            enumType: [{ name: 'Kind', value: [{ name: 'KIND_NONE', number: 0 }] }],
            extension: [{ name: 'nested_extension', number: 150, extendee: '.sample.Base', ...extension }]
          }
        ],
        enumType: [{ name: 'Colour', value: [{ name: 'COLOUR_RED', number: 0 }] }],
        extension: [{ name: 'top_extension', number: 120, extendee: '.sample.Base', ...extension }]
      }),
      create(FileDescriptorProtoSchema, {
        name: 'unpackaged.proto',
        syntax: 'proto3',
        messageType: [{ name: 'Bare', field: [{ name: 'plain', number: 1, ...extension }] }]
      })
    ]
  })
)

const client = createClient(
  ServerReflection,
  createRouterTransport((router) =>
    reflectionRoutes(
      router,
      [SessionService, UserService],
      [file_session_v1_session, file_user_v1_user, ...samples.files]
    )
  )
)

type Asked = ServerReflectionRequest['messageRequest']

async function ask(messageRequest: Asked) {
  const request = create(ServerReflectionRequestSchema, { host: 'here', messageRequest })
  const send = async function* () {
    yield request
  }
  for await (const response of client.serverReflectionInfo(send())) {
    t.equal(response.validHost, 'here')
    t.same(response.originalRequest, request)
    return response.messageResponse
  }
  throw new Error('no response')
}

const symbol = (value: string) => ask({ case: 'fileContainingSymbol', value })

async function notFound(t: Test, asked: Asked) {
  t.match(await ask(asked), { case: 'errorResponse', value: { errorCode: Code.NotFound } }, JSON.stringify(asked.value))
}

t.test('resolves every kind of symbol', async (t) => {
  const answer = 'reflection describes messages, fields, enums, values, oneofs, extensions, services and methods'
  await fieldCase(t, 21, answer, describesAll)
})

async function describesAll(t: Test) {
  for (const name of [
    'session.v1.SessionService',
    'session.v1.SessionService.ValidateSession',
    'session.v1.Session',
    'session.v1.Session.user_id',
    'session.v1.InvalidReason',
    'session.v1.INVALID_REASON_UNSPECIFIED',
    'session.v1.ValidateSessionResponse.result',
    'session.v1.ValidateSessionResponse.invalid',
    'user.v1.UserService.Logout',
    // Of a proto3 `optional` field.
    'user.v1.AuthenticateAndLoginRequest._replaces_token',
    'google.rpc.BadRequest.FieldViolation.field',
    'google.rpc.ErrorInfo.MetadataEntry.key',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
    'grpc.health.v1.HealthCheckResponse.SERVING',
    'google.protobuf.Timestamp.seconds',
    'sample.Base.Inner.deep',
    'sample.Base.KIND_NONE',
    'sample.COLOUR_RED',
    'sample.top_extension',
    'sample.Base.nested_extension',
    'Bare.plain'
  ]) {
    t.equal((await symbol(name)).case, 'fileDescriptorResponse', name)
  }
}

t.test('answers NOT_FOUND for an undeclared symbol', async (t) => {
  // The values of an enum belong to the scope of the enum.
  const names = ['session.v1.InvalidReason.INVALID_REASON_UNSPECIFIED', 'sample.Colour.COLOUR_RED']
  for (const name of [...names, '', '.', 'session', 'session.v1', 'session.v1.Session.nothing', 'user_id']) {
    await notFound(t, { case: 'fileContainingSymbol', value: name })
  }
})

t.test('finds extensions by number and lists them', async (t) => {
  for (const extensionNumber of [120, 150]) {
    const value = { $typeName: 'grpc.reflection.v1.ExtensionRequest', containingType: 'sample.Base', extensionNumber }
    t.equal((await ask({ case: 'fileContainingExtension', value } as Asked)).case, 'fileDescriptorResponse')
    await notFound(t, { case: 'fileContainingExtension', value: { ...value, extensionNumber: 1 } } as Asked)
    await notFound(t, { case: 'fileContainingExtension', value: { ...value, containingType: 'sample.No' } } as Asked)
  }
  const numbers = (value: string) => ask({ case: 'allExtensionNumbersOfType', value })
  t.match(await numbers('sample.Base'), { value: { baseTypeName: 'sample.Base', extensionNumber: [120, 150] } })
  t.same((await numbers('session.v1.Session')).value, {
    $typeName: 'grpc.reflection.v1.ExtensionNumberResponse',
    baseTypeName: 'session.v1.Session',
    extensionNumber: []
  })
  await notFound(t, { case: 'allExtensionNumbersOfType', value: 'sample.Colour' })
})

t.test('answers INVALID_ARGUMENT for an empty request', async (t) => {
  t.match(await ask({ case: undefined }), { case: 'errorResponse', value: { errorCode: Code.InvalidArgument } })
})
