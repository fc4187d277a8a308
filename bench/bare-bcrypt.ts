/** Nothing but bcrypt: as many hashes at a time as there are cores, for some seconds. Prints when each was done. */

import { availableParallelism } from 'node:os'
import { verify } from '@node-rs/bcrypt'

const [hash = '', seconds] = process.argv.slice(2)
const input = 'x'.repeat(64)
const endsAt = Date.now() + Number(seconds) * 1000
const completedAt: number[] = []

async function hashAgainAndAgain(): Promise<void> {
  while (Date.now() < endsAt) {
    await verify(input, hash)
    completedAt.push(Date.now())
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, hashAgainAndAgain))
console.log(JSON.stringify(completedAt))
