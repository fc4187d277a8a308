/** A file beside the collected logs that records that their topic has been created. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { TopicMemory } from '#common/kafka/topic.ts'

export function topicMarker(directory: string, topic: string): TopicMemory {
  const path = join(directory, `topic-${topic}.json`)
  return {
    wasCreated: () => existsSync(path),
    recordCreated() {
      if (existsSync(path)) return
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      writeFileSync(path, `${JSON.stringify({ topic, since: new Date().toISOString() })}\n`, { mode: 0o600 })
    },
    remedy: `remove ${relative('.', path)}`
  }
}
