/** Messages of an import, for its tests. */

import type { MessageInitShape } from '@bufbuild/protobuf'
import type { ImportUsersRequestSchema } from '#gen/admin/v1/admin_pb.ts'

export type Row = NonNullable<MessageInitShape<typeof ImportUsersRequestSchema>['users']>[number]

export async function* stream(...messages: Row[][]) {
  for (const users of messages) yield { users }
}
