/** The contracts state for each method whether a call may be repeated: the retry policy depends on it. */

import { isFieldSet } from '@bufbuild/protobuf'
import { MethodOptionsSchema } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'

t.test('each method states its idempotency_level', async (t) => {
  for (const { parent, name, proto } of [...SessionService.methods, ...UserService.methods, ...AdminService.methods]) {
    const isStated = proto.options && isFieldSet(proto.options, MethodOptionsSchema.field.idempotencyLevel)
    t.ok(isStated, `${parent.typeName}/${name}: add \`option idempotency_level\` to the contract`)
  }
})
