/** Finds passwords and other secrets that are made of repeats and sequences: `abcabcabc`, `87654321`, `qwerty123456`, `1qaz2wsx3edc`. */

// Runs of this length or more count as one character.
const minRun = 3
/** A password whose runs count as one character each needs this number of characters. */
const minDistinctParts = 5
// A part that is repeated must be a password by itself.
const minRepeatedLength = 8

// Rows and columns of keyboards: US, German and French, with the characters of the US shift key.
const rows = [
  ...['`1234567890-=', 'qwertyuiop[]\\', "asdfghjkl;'", 'zxcvbnm,./', '~!@#$%^&*()_+'],
  ...['qwertzuiopü', 'asdfghjklöä', 'yxcvbnm', 'azertyuiop', 'qsdfghjklm', 'wxcvbn'],
  ...['1qaz', '2wsx', '3edc', '4rfv', '5tgb', '6yhn', '7ujm', '8ik,', '9ol.', '!qaz', '@wsx', '#edc', '$rfv', '%tgb'],
  ...[
    '0987654321',
    'abcdefghijklmnopqrstuvwxyz',
    'абвгдеёжзийклмнопрстуфхцчшщъыьэюя',
    'йцукенгшщзхъ',
    'фывапролджэ',
    'ячсмитьбю'
  ]
]
const steps = new Map<string, Set<string>>()
for (const row of rows) addSteps([...row])

function addSteps(row: string[]): void {
  for (const [index, character] of row.entries()) {
    for (const [next, step] of [
      [row[index + 1], 'forward'],
      [row[index - 1], 'back']
    ]) {
      if (next === undefined) continue
      const key = character + next
      steps.set(key, (steps.get(key) ?? new Set()).add(step as string))
    }
  }
}

/** The kinds of step from a character to the next: the same, the next code point, the neighbour on a keyboard. */
function stepsBetween(from: string, to: string): ReadonlySet<string> {
  if (from === to) return new Set(['same'])
  const difference = (to.codePointAt(0) as number) - (from.codePointAt(0) as number)
  const kinds = new Set(steps.get(from + to))
  if (difference === 1) kinds.add('forward')
  if (difference === -1) kinds.add('back')
  return kinds
}

/** The number of characters, of which each run of equal steps counts as one. */
export function distinctParts(characters: readonly string[]): number {
  let parts = 0
  let index = 0
  while (index < characters.length) {
    const length = runAt(characters, index)
    parts += 1
    index += length >= minRun ? length : 1
  }
  return parts
}

/** The length of the run that starts at an index. */
function runAt(characters: readonly string[], start: number): number {
  let kinds: ReadonlySet<string> = new Set(['same', 'forward', 'back'])
  let end = start + 1
  while (end < characters.length) {
    const next = stepsBetween(characters[end - 1] as string, characters[end] as string)
    kinds = new Set([...kinds].filter((kind) => next.has(kind)))
    if (kinds.size === 0) break
    end += 1
  }
  return end - start
}

/** The shortest part whose repetition is the password, with the last one cut off or not; undefined if there is none. */
export function repeatedPart(folded: string): string | undefined {
  const characters = [...folded]
  for (let period = 1; period <= characters.length / 2; period += 1) {
    if (characters.every((each, index) => index < period || each === characters[index - period])) {
      return characters.slice(0, period).join('')
    }
  }
  return undefined
}

/** @param folded without case */
export function isSimplePassword(folded: string): boolean {
  const repeated = repeatedPart(folded)
  if (repeated !== undefined && [...repeated].length < minRepeatedLength) return true
  return distinctParts([...folded]) < minDistinctParts
}
