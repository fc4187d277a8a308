/** Creates and removes SCRAM users of a broker: AlterUserScramCredentials (KIP-554), which kafkajs 2.2.4 lacks. */

import { pbkdf2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'

/** A user with a password, or without one to remove. */
export interface ScramUser {
  name: string
  mechanism: 'scram-sha-256' | 'scram-sha-512'
  password?: string
}

const mechanisms = { 'scram-sha-256': [1, 'sha256', 32], 'scram-sha-512': [2, 'sha512', 64] } as const
const iterations = 4096
const [apiKey, version, correlation] = [51, 0, 1]

const int = (bytes: 1 | 2 | 4, value: number) => {
  const buffer = Buffer.alloc(bytes)
  buffer.writeIntBE(value, 0, bytes)
  return buffer
}
/** A compact string, byte array or array starts with its length plus one; all of them are short here. */
const compact = (content: Buffer | string) => Buffer.concat([int(1, content.length + 1), Buffer.from(content)])
const list = (items: Buffer[]) => Buffer.concat([int(1, items.length + 1), ...items])
const noTags = int(1, 0)

function upsertion({ name, mechanism, password = '' }: ScramUser): Buffer {
  const [id, digest, length] = mechanisms[mechanism]
  const salt = randomBytes(16)
  const salted = pbkdf2Sync(password, salt, iterations, length, digest)
  return Buffer.concat([compact(name), int(1, id), int(4, iterations), compact(salt), compact(salted), noTags])
}

function deletion({ name, mechanism }: ScramUser): Buffer {
  return Buffer.concat([compact(name), int(1, mechanisms[mechanism][0]), noTags])
}

/** @param port of a listener without TLS and SASL */
export async function alterScramUser(port: number, user: ScramUser): Promise<void> {
  const isRemoved = user.password === undefined
  const header = Buffer.concat([int(2, apiKey), int(2, version), int(4, correlation), int(2, -1), noTags])
  const body = [list(isRemoved ? [deletion(user)] : []), list(isRemoved ? [] : [upsertion(user)]), noTags]
  const request = Buffer.concat([header, ...body])
  const socket = connect(port, '127.0.0.1')
  socket.write(Buffer.concat([int(4, request.length), request]))
  const [response] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  // Size, correlation, no tags, throttle time, and an array of user, error code, message and tags.
  const start = 4 + 4 + 1 + 4 + 1
  const code = response.readInt16BE(start + response.readInt8(start))
  if (code !== 0) throw new Error(`the broker rejects a SCRAM user (${code})`)
}
