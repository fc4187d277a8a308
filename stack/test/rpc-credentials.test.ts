/** The credentials of RPC callers that `make run` generates, and what each permits. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { parseCaller } from '#common/rpc/callers.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { rpcCredentials } from '../rpc-credentials.ts'

t.test('the generated credential of applications validates sessions, and permits nothing else', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'credentials-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  const { callers } = rpcCredentials(
    { rpc: { token: '', adminToken: '', ownToken: '', callers: [] } as never },
    directory
  )
  const token = readFileSync(join(directory, 'validation-token'), 'utf8').trim()
  const entries = callers.filter((entry) => entry.includes(token))
  t.equal(entries.length, 1)
  const { permits } = parseCaller(entries[0] as string)
  const methods = [UserService, AdminService, SessionService].flatMap((service) => service.methods)
  t.same(
    methods.filter(permits).map(({ name }) => name),
    ['ValidateSession', 'ValidateSessions']
  )
})
