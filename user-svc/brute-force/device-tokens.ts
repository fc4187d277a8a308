/**
 * The token of a device that has logged in: a random id, the account, its session epoch and the end of validity, with an
 * HMAC. The end of all sessions of the account invalidates it, and so do a change and a reset of the password.
 */

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { parse as uuidBytes, stringify as uuidText } from 'uuid'
import type { users } from '../schema.ts'

type Account = Pick<typeof users.$inferSelect, 'id' | 'sessionEpoch'>

/** What a token that is signed and not expired says. */
export interface Device {
  /** Hexadecimal. */
  id: string
  userId: string
  sessionEpoch: bigint
}

const validDays = 400
const idBytes = 16
const bodyBytes = idBytes + 16 + 8 + 4
const tokenPattern = /^[A-Za-z0-9_-]{102}$/

export class DeviceTokens {
  readonly #keys: Buffer[]
  readonly #nowMs: () => number

  /** @param keys `name:base64`, the newest first; the newest signs. Without keys, no device gets a token */
  constructor(keys: string[], nowMs: () => number = Date.now) {
    this.#keys = keys.map((key) => Buffer.from(key.slice(key.indexOf(':') + 1), 'base64'))
    this.#nowMs = nowMs
  }

  /** A token for a device of the account; it keeps the id of the device's earlier token, and so its count of guesses. */
  issue({ id, sessionEpoch }: Account, earlier?: Device): string | undefined {
    const [newest] = this.#keys
    if (newest === undefined) return undefined
    const body = Buffer.alloc(bodyBytes)
    const deviceId = earlier?.userId === id ? Buffer.from(earlier.id, 'hex') : randomBytes(idBytes)
    deviceId.copy(body)
    body.set(uuidBytes(id), idBytes)
    body.writeBigUInt64BE(sessionEpoch, idBytes + 16)
    body.writeUInt32BE(Math.floor(this.#nowMs() / 1000) + validDays * 86_400, bodyBytes - 4)
    return Buffer.concat([body, macOf(body, newest)]).toString('base64url')
  }

  /** The device that a client names, or nothing if its token is not valid. */
  read(token: string | undefined): Device | undefined {
    if (token === undefined || !tokenPattern.test(token)) return undefined
    const bytes = Buffer.from(token, 'base64url')
    const [body, mac] = [bytes.subarray(0, bodyBytes), bytes.subarray(bodyBytes)]
    const isSigned = this.#keys.map((key) => timingSafeEqual(macOf(body, key), mac)).includes(true)
    if (!isSigned || body.readUInt32BE(bodyBytes - 4) * 1000 < this.#nowMs()) return undefined
    return {
      id: body.toString('hex', 0, idBytes),
      userId: uuidText(body.subarray(idBytes, idBytes + 16)),
      sessionEpoch: body.readBigUInt64BE(idBytes + 16)
    }
  }
}

/** Whether a device has logged in to the account since its sessions last ended. */
export function isDeviceOf(device: Device | undefined, account: Account | undefined): device is Device {
  return device !== undefined && device.userId === account?.id && device.sessionEpoch === account.sessionEpoch
}

function macOf(body: Buffer, key: Buffer): Buffer {
  return createHmac('sha256', key).update('device-token\0').update(body).digest()
}
