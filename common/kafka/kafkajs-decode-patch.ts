/**
 * Replaces the decoder of fetched records in kafkajs 2.2.4, whose memory and time grow with what a producer sends: it
 * decompresses without a limit, copies all headers of a record for each header, passes all records of a batch as
 * arguments, and stops at a codec that it does not know. No upstream issue known. Remove when kafkajs is replaced.
 */

import { createRequire } from 'node:module'
import { type DecodingBudget, decodeRecordSet, decodingLimits } from './record-batches.ts'

/** kafkajs' reader of a response, in front of the records of a partition. */
interface Decoder {
  /** The response: the same for all its partitions. */
  buffer: Buffer
  readBytes(): Buffer | null
}

const require = createRequire(import.meta.url)
// All versions of the fetch API since Kafka 0.11 use this module, and load it at the first fetch.
const decoderModule = 'kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js'
const budgets = new WeakMap<Buffer, DecodingBudget>()

require(decoderModule)
const cached = require.cache[require.resolve(decoderModule)]
if (cached === undefined) throw new Error(`${decoderModule} is not loaded`)
cached.exports = async (response: Decoder) => {
  const budget = budgets.get(response.buffer) ?? { left: decodingLimits.responseBytes }
  budgets.set(response.buffer, budget)
  return decodeRecordSet(response.readBytes() ?? Buffer.alloc(0), budget)
}
