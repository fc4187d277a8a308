/** The committed offset selects a checkpoint, wherever a sink crashed. */

import t from 'tap'
import {
  type Checkpoint,
  type Committed,
  decodeCommit,
  encodeCommit,
  type OwnershipHistory,
  selectCheckpoint
} from '../checkpoint.ts'
import { keepCheckpoint, readCheckpoints, writeCheckpoint } from '../checkpoint-files.ts'
import type { Positions } from '../positions.ts'
import { allWait, createProcess, replaceFileOperations } from './stepped-process.ts'

t.teardown(replaceFileOperations())

const checkpoint = (
  offset: number,
  ownershipHistory: OwnershipHistory = [['a', 0]],
  positions?: Positions
): Checkpoint => ({
  offset,
  lines: undefined,
  deadLetters: undefined,
  positions: positions ?? { complete: true, last: [] },
  ownershipHistory
})
const committed = (offset: number, ownershipHistory: OwnershipHistory): Committed => ({
  offset,
  commitMetadata: { ownershipHistory, positions: { complete: true, last: [] } }
})
const own = [checkpoint(20), checkpoint(10)]

t.test('selects the newer checkpoint after an accepted commit, the older one after a rejected commit', async (t) => {
  t.equal(selectCheckpoint('a', own, committed(20, [['a', 0]]))?.offset, 20)
  t.equal(selectCheckpoint('a', own, committed(10, [['a', 0]]))?.offset, 10)
})

t.test('the first offset of the next owner selects the checkpoint', async (t) => {
  const before: OwnershipHistory = [
    ['z', 0],
    ['a', 5]
  ]
  t.equal(selectCheckpoint('a', own, committed(99, [...before, ['b', 20]]))?.offset, 20)
  t.equal(selectCheckpoint('a', own, committed(99, [...before, ['b', 10], ['c', 50]]))?.offset, 10)
  t.equal(
    selectCheckpoint('a', own, committed(60, [...before, ['b', 10], ['a', 60]]))?.offset,
    20,
    'only the last ownership counts'
  )
})

t.test('an ownership whose first commit was rejected ends where it began', async (t) => {
  const first = [
    checkpoint(20, [
      ['a', 0],
      ['b', 10]
    ]),
    checkpoint(10, [
      ['a', 0],
      ['b', 10]
    ])
  ]
  t.equal(selectCheckpoint('b', first, committed(10, [['a', 0]]))?.offset, 10, 'no sink has continued')
  t.equal(selectCheckpoint('b', first, committed(99, [['a', 0]]))?.offset, 10, 'the previous owner has continued')
  t.equal(
    selectCheckpoint(
      'b',
      first,
      committed(99, [
        ['a', 0],
        ['c', 10]
      ])
    )?.offset,
    10
  )
  t.equal(
    selectCheckpoint(
      'b',
      first,
      committed(99, [
        ['b', 0],
        ['a', 5]
      ])
    )?.offset,
    10,
    'an earlier ownership of the same sink'
  )
  t.equal(selectCheckpoint('b', first, committed(99, [['a', 50]]))?.offset, 20, 'the history is too short')
})

t.test(
  'selects the newer checkpoint without commit metadata: lines are collected twice rather than lost',
  async (t) => {
    t.equal(selectCheckpoint('a', own, { offset: -1, commitMetadata: undefined })?.offset, 20)
    t.equal(selectCheckpoint('a', own, { offset: 3, commitMetadata: undefined })?.offset, 20)
    t.equal(selectCheckpoint('a', own, committed(99, [['b', 50]]))?.offset, 20)
    t.equal(selectCheckpoint('a', [], committed(10, [['a', 0]])), undefined)
  }
)

t.test('decodes what it has encoded, and nothing else', async (t) => {
  const positions: Positions = {
    complete: true,
    last: [
      ['svc/x', 5],
      ['svc/y', 7]
    ]
  }
  const ownershipHistory: OwnershipHistory = [
    ['a', 0],
    ['b', 20]
  ]
  t.same(decodeCommit(encodeCommit(checkpoint(30, ownershipHistory, positions))), { ownershipHistory, positions })
  const withGap: Positions = {
    complete: true,
    last: [
      ['svc/a', 9, [4, 7, 'continued']],
      [
        'svc/c',
        30,
        [4, 29, 'resumed'],
        {
          ranges: [
            [29, 30],
            [8, 9]
          ],
          isPartial: true
        }
      ],
      ['svc/b', 3]
    ]
  }
  t.same(decodeCommit(encodeCommit(checkpoint(30, ownershipHistory, withGap)))?.positions, withGap)
  const earlier = decodeCommit('{"v":1,"tenures":[["a",0]],"complete":true,"last":{"svc/a":9}}')
  t.same(earlier?.positions.last, [['svc/a', 9]], 'a commit of an earlier version has no gaps')
  for (const other of [null, '', 'x', '{}', '[]', '{"v":2}', 'null'])
    t.equal(decodeCommit(other), undefined, `${other}`)
})

t.test('keeps the latest sources and owners within the limit of the brokers', async (t) => {
  const last = Array.from(
    { length: 2000 },
    (_, index) => [`service-${index}/some-host-name-${index}`, index + 1] as [string, number]
  )
  const ownershipHistory = Array.from({ length: 40 }, (_, index) => [`sink-${index}`, index * 1000] as [string, number])
  const text = encodeCommit(checkpoint(1, ownershipHistory, { complete: true, last }))
  t.ok(Buffer.byteLength(text) <= 4096)
  const decoded = decodeCommit(text)
  t.ok((decoded?.positions.last.length ?? 0) > 50)
  t.equal(decoded?.positions.complete, false)
  t.same(decoded?.positions.last.at(-1), last.at(-1))
  t.same(decoded?.ownershipHistory.at(-1), ownershipHistory.at(-1))
})

const writes = {
  'a checkpoint is written': (directory: string) => writeCheckpoint(directory, checkpoint(30)),
  'the older checkpoint is made the only one': (directory: string) => keepCheckpoint(directory, checkpoint(20))
}
for (const [title, write] of Object.entries(writes)) {
  t.test(`a process that is killed while ${title} leaves the selected checkpoint`, async (t) => {
    let isDone = false
    for (let operations = 0; !isDone; operations += 1) {
      const directory = t.testdir({})
      for (const offset of title.startsWith('the older') ? [20, 30] : [10, 20]) {
        await writeCheckpoint(directory, checkpoint(offset))
      }
      const process = createProcess()
      const written = process.run(() => write(directory))
      void written.then(() => {
        isDone = true
      })
      for (let index = 0; index < operations; index += 1) {
        process.points.shift()?.perform().settle()
        await allWait()
      }
      const at = process.points[0]?.at ?? 'the end'
      process.kill()
      const left = await readCheckpoints(directory)
      t.equal(selectCheckpoint('a', left, committed(20, [['a', 0]]))?.offset, 20, `before ${at}`)
    }
  })
}
