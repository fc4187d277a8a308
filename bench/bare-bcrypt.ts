/** Bare bcrypt: one hash per core at a time, for some seconds. Prints the completion times. */

import { availableParallelism } from 'node:os'
import { verify } from '@node-rs/bcrypt'

const [hash = '', seconds] = process.argv.slice(2)
const input = 'x'.repeat(64)
const endsAt = Date.now() + Number(seconds) * 1000
const completedAt: number[] = []

async function hashUntilEnd(): Promise<void> {
  while (Date.now() < endsAt) {
    await verify(input, hash)
    completedAt.push(Date.now())
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, hashUntilEnd))
console.log(JSON.stringify(completedAt))
