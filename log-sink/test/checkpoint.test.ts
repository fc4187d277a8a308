/** Which checkpoint stands: what the group has committed decides, whoever crashed where. */

import t from 'tap'
import {
  type Checkpoint,
  type Committed,
  decodeCommit,
  encodeCommit,
  keepCheckpoint,
  readCheckpoints,
  standing,
  type Tenures,
  writeCheckpoint
} from '../checkpoint.ts'
import type { Positions } from '../positions.ts'
import { allWait, createProcess, replaceFileOperations } from './stepped-process.ts'

t.teardown(replaceFileOperations())

const checkpoint = (offset: number, tenures: Tenures = [['a', 0]], positions?: Positions): Checkpoint => ({
  offset,
  lines: undefined,
  deadLetters: undefined,
  positions: positions ?? { complete: true, last: [] },
  tenures
})
const committed = (offset: number, tenures: Tenures): Committed => ({
  offset,
  said: { tenures, positions: { complete: true, last: [] } }
})
const own = [checkpoint(20), checkpoint(10)]

t.test('a commit that was taken makes the newer checkpoint stand, one that was not the older', async (t) => {
  t.equal(standing('a', own, committed(20, [['a', 0]]))?.offset, 20)
  t.equal(standing('a', own, committed(10, [['a', 0]]))?.offset, 10)
})

t.test('where another sink has taken over, that decides', async (t) => {
  const before: Tenures = [
    ['z', 0],
    ['a', 5]
  ]
  t.equal(standing('a', own, committed(99, [...before, ['b', 20]]))?.offset, 20)
  t.equal(standing('a', own, committed(99, [...before, ['b', 10], ['c', 50]]))?.offset, 10)
  t.equal(
    standing('a', own, committed(60, [...before, ['b', 10], ['a', 60]]))?.offset,
    20,
    'only the last tenure counts'
  )
})

t.test('a tenure whose first commit was not taken ends where it began', async (t) => {
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
  t.equal(standing('b', first, committed(10, [['a', 0]]))?.offset, 10, 'nobody has gone on yet')
  t.equal(standing('b', first, committed(99, [['a', 0]]))?.offset, 10, 'the one before has gone on')
  t.equal(
    standing(
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
    standing(
      'b',
      first,
      committed(99, [
        ['b', 0],
        ['a', 5]
      ])
    )?.offset,
    10,
    'an earlier tenure is another one'
  )
  t.equal(standing('b', first, committed(99, [['a', 50]]))?.offset, 20, 'too long ago to be told')
})

t.test('when nobody can know, the newer one stands: better twice than not at all', async (t) => {
  t.equal(standing('a', own, { offset: -1, said: undefined })?.offset, 20)
  t.equal(standing('a', own, { offset: 3, said: undefined })?.offset, 20)
  t.equal(standing('a', own, committed(99, [['b', 50]]))?.offset, 20)
  t.equal(standing('a', [], committed(10, [['a', 0]])), undefined)
})

t.test('what a commit carries is what it was given', async (t) => {
  const positions: Positions = {
    complete: true,
    last: [
      ['svc/x', 5],
      ['svc/y', 7]
    ]
  }
  const tenures: Tenures = [
    ['a', 0],
    ['b', 20]
  ]
  t.same(decodeCommit(encodeCommit(checkpoint(30, tenures, positions))), { tenures, positions })
  for (const other of [null, '', 'x', '{}', '[]', '{"v":2}', 'null'])
    t.equal(decodeCommit(other), undefined, `${other}`)
})

t.test('a commit never carries more than brokers take: the latest sources and owners stay', async (t) => {
  const last = Array.from(
    { length: 2000 },
    (_, index) => [`service-${index}/some-host-name-${index}`, index + 1] as [string, number]
  )
  const tenures = Array.from({ length: 40 }, (_, index) => [`sink-${index}`, index * 1000] as [string, number])
  const text = encodeCommit(checkpoint(1, tenures, { complete: true, last }))
  t.ok(Buffer.byteLength(text) <= 4096)
  const said = decodeCommit(text)
  t.ok((said?.positions.last.length ?? 0) > 50)
  t.equal(said?.positions.complete, false)
  t.same(said?.positions.last.at(-1), last.at(-1))
  t.same(said?.tenures.at(-1), tenures.at(-1))
})

const writes = {
  'a checkpoint is written': (directory: string) => writeCheckpoint(directory, checkpoint(30)),
  'the older checkpoint is made the only one': (directory: string) => keepCheckpoint(directory, checkpoint(20))
}
for (const [title, write] of Object.entries(writes)) {
  t.test(`a process that is killed while ${title} leaves the checkpoint that stands`, async (t) => {
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
      t.equal(standing('a', left, committed(20, [['a', 0]]))?.offset, 20, `before ${at}`)
    }
  })
}
