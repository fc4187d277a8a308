/** Encodes dead letters: the reason, the origin and the content of an invalid line or record. */

interface Place {
  topic: string
  partition: number
}

/** The dead letters of one batch. */
export interface DeadLetters {
  add(offset: number, reason: string, content: Buffer | null, origin?: object): void
  /** The number of dead letters, including those that are not kept. */
  count(): number
  encoded: Buffer[]
}

const maxContentBytes = 65_536
/** Of one batch: a record of line ends would take a hundred times its size. Further dead letters are not kept. */
const maxBytes = 16 * 2 ** 20

export function createDeadLetters({ topic, partition }: Place): DeadLetters {
  const encoded: Buffer[] = []
  let count = 0
  let bytes = 0
  return {
    encoded,
    count: () => count,
    add(offset, reason, content, origin = {}) {
      count += 1
      if (bytes > maxBytes) return
      const line = content?.subarray(0, maxContentBytes).toString('utf8') ?? null
      const letter = { time: new Date().toISOString(), reason, topic, partition, offset, ...origin, line }
      const text = Buffer.from(`${JSON.stringify(letter)}\n`)
      bytes += text.length
      encoded.push(text)
    }
  }
}
