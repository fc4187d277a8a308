/** Nothing but Redis: GET by the product's own client, 64 at a time, for some seconds. Reads REDIS_URL; prints GETs a second. */

import { createLogger } from '#common/logging/logger.ts'
import { connectRedis } from '#common/redis/connection.ts'

const atATime = 64
const seconds = Number(process.argv[2])
const redis = connectRedis(process.env.REDIS_URL ?? '', createLogger('bench', 'silent'))
await new Promise((resolve) => redis.once('ready', resolve))
await redis.set('bench', '0 1795521600000 1795521600000 1798113600000', { expiration: { type: 'EX', value: 60 } })

let answered = 0
const startedAt = performance.now()
const endsAt = startedAt + seconds * 1000

async function getAgainAndAgain(): Promise<void> {
  for (; performance.now() < endsAt; answered += 1) await redis.get('bench')
}

await Promise.all(Array.from({ length: atATime }, getAgainAndAgain))
console.log((answered * 1000) / (performance.now() - startedAt))
redis.destroy()
