/**
 * The SQL of the counts of wrong passwords. A guess is reserved in one statement before its password is hashed, so that
 * concurrent guesses cannot exceed a bound. The row of an address holds an entry for each guess: its class, its source,
 * a random id and, until its result is known, the time of its reservation and whether the guess was the first of its network.
 */

import { randomBytes } from 'node:crypto'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { guessCounts, rowKeys } from '../schema.ts'

/**
 * The bounds on consecutive failures of an account: 100 in total. `any`: guesses of any network; `fresh`: first guesses of a
 * network, or of an IPv6 /48; `device`: guesses with a device token.
 */
export const maxGuesses = { any: 60, fresh: 25, device: 15 } as const
export const maxGuessesPerSource = 5

export type GuessClass = keyof typeof maxGuesses

const prefixes = { any: 'a', fresh: 'f', device: 'd' } as const
// An attack of more networks exhausts the bounds whether or not all of them are remembered.
const maxNetworks = 256
// The first guesses of networks: three at once, then one in 20 seconds.
const paceSeconds = 20
const paceBurst = 3
const expiredRows = 10_000
const queryTimeoutMs = 3000

/** How long a count stays after the last guess. An attacker cannot observe the end of a count for an unknown address. */
const retentionDays = { known: 400, unknown: 8 }

/** The source of a guess, each part 8 hexadecimal digits: short, as every guess writes the row with up to 100 of them. */
export interface GuessSource {
  /** `undefined` if the caller did not name the network of its client. */
  network: string | undefined
  /** The source of a first guess: the IPv6 /48 of the network, or the network. */
  block: string | undefined
  device: string | undefined
}

interface Reservation {
  /** The entry of the guess; undefined if it was refused. */
  entry: string | undefined
  /** All entries of the address. */
  guesses: string[]
}

const sharedSource = '0'.repeat(8)

/** The form of a source in the column of networks: 4 bytes, a quarter of its text. */
const numberOf = (source: string) => Number.parseInt(source, 16) | 0

// Before the time of a reservation. The result of an older one was lost: its caller got an error, or its process has ended.
const pendingMark = '@'
const pendingSeconds = 60
// After the time of a reservation that has added the network of the guess to the row.
const firstMark = '@first'

const isPending = (entry: string) => entry.includes(pendingMark)
const failedEntry = (entry: string) => entry.split(pendingMark)[0] as string

/** Whether a refused guess is refused only because the results of concurrent guesses are not known yet. */
export function isBusy(guesses: string[], { network, block = sharedSource, device }: GuessSource): boolean {
  const isFirstPending = guesses.some((entry) => entry.startsWith(prefixes.fresh + block) && isPending(entry))
  const failed = guesses.filter((entry) => !isPending(entry))
  const permits = (kind: GuessClass, source: string | undefined) =>
    countOf(failed, kind) < maxGuesses[kind] &&
    (source === undefined || countOf(failed, kind, source) < maxGuessesPerSource)
  return isFirstPending || permits('any', network) || (device !== undefined && permits('device', device))
}

export function classOf(entry: string): GuessClass {
  if (entry.startsWith(prefixes.device)) return 'device'
  return entry.startsWith(prefixes.fresh) ? 'fresh' : 'any'
}

/** The number of guesses of a class, or of one of its sources. */
export function countOf(guesses: string[], kind: GuessClass, source: string | undefined = ''): number {
  return guesses.filter((entry) => entry.startsWith(prefixes[kind] + source)).length
}

const counted = (prefix: unknown) => sql`count(*) filter (where starts_with(guess, ${prefix}))`
/** Concurrent guesses do not count against their own source: all of them may have the correct password. */
const failedOf = (prefix: unknown) =>
  sql`count(*) filter (where starts_with(guess, ${prefix}) and strpos(guess, ${pendingMark}) = 0)`

/** As `isBusy`. */
function busy({ network, block = sharedSource, device }: GuessSource) {
  const first = prefixes.fresh + block
  const permits = (kind: 'any' | 'device', source: string | undefined) => sql`
    ${failedOf(prefixes[kind])} < ${maxGuesses[kind]}
      and (${source === undefined}::boolean or ${failedOf(prefixes[kind] + (source ?? ''))} < ${maxGuessesPerSource})`
  return sql`${counted(first)} > ${failedOf(first)} or ${permits('any', network)} or (${device !== undefined}::boolean and ${permits('device', device)})`
}

/** The guesses of the row `present` without the reservations whose result was lost. */
const remembered = sql`array(
  select guess from unnest(present.guesses) with ordinality as each (guess, place)
  where coalesce(nullif(split_part(guess, ${pendingMark}, 2), '')::bigint > extract(epoch from now()) - ${pendingSeconds}::int, true)
  order by place)`

/**
 * The class of the next guess among the guesses `kept`, or null if no bound permits it, and whether results of concurrent
 * guesses can change that.
 */
function decision(source: GuessSource) {
  const { network = sharedSource, block = sharedSource, device } = source
  const { any, fresh, device: ofDevices } = maxGuesses
  return sql`
    select case
      when ${device !== undefined}::boolean and ${counted(prefixes.device)} < ${ofDevices}
        and ${failedOf(prefixes.device + (device ?? ''))} < ${maxGuessesPerSource} then ${prefixes.device}
      when ${counted(prefixes.any)} < ${any}
        and (${source.network === undefined}::boolean or ${failedOf(prefixes.any + network)} < ${maxGuessesPerSource}) then ${prefixes.any}
      when ${numberOf(block)}::int <> all(present.recent_networks) and ${counted(prefixes.fresh)} < ${fresh}
        and present.paced_until < now() + make_interval(secs => ${(paceBurst - 1) * paceSeconds + 1}) then ${prefixes.fresh}
      end as class, ${busy(source)} as is_busy
    from unnest(kept) as guess`
}

export type GuessRows = ReturnType<typeof createGuessRows>

export function createGuessRows(db: Database) {
  return {
    /** The secret of the HMACs; the first caller creates it. */
    async readSecret(): Promise<Buffer> {
      const statement = db.execute<{ secret: string }>(sql`
        insert into ${rowKeys} (name, secret) values ('guesses', ${randomBytes(32).toString('base64url')})
        on conflict (name) do update set name = excluded.name returning secret`)
      const [row] = (await callEngine(queryTimeoutMs, statement, true)).rows
      return Buffer.from(row?.secret ?? '', 'base64url')
    },

    /**
     * Reserves a guess. The same statement runs whether or not the address has an account. A guess makes its network a known
     * one, except a guess that results of concurrent guesses may still permit.
     *
     * @throws the error of the driver
     */
    async reserve(key: string, source: GuessSource, isKnown: boolean): Promise<Reservation> {
      const { network = sharedSource, block = sharedSource, device } = source
      const id = randomBytes(4).toString('hex')
      const time = sql`${pendingMark}::text || extract(epoch from now())::bigint`
      const first = (device === undefined ? prefixes.any + network : prefixes.device + device) + id
      const days = isKnown ? retentionDays.known : retentionDays.unknown
      const isNew = sql`${numberOf(block)}::int <> all(present.recent_networks)`
      const { rows } = await db.execute<{ guesses: string[] }>(sql`
        insert into ${guessCounts} as present (key, guesses, recent_networks, paced_until, expires_at)
        values (${key}, array[${first} || ${time} || ${firstMark}], array[${numberOf(block)}::int], now(), date_trunc('day', now()) + make_interval(days => ${days}))
        on conflict (key) do update set (guesses, recent_networks, paced_until, expires_at) = (
          select
            case when class is null then kept
              else kept || (class || case class when ${prefixes.device} then ${device ?? ''} when ${prefixes.fresh} then ${block} else ${network} end || ${id} || ${time}
                || case when ${isNew} then ${firstMark} else '' end) end,
            case when not ${isNew} or class is null and is_busy then present.recent_networks
              else (present.recent_networks || ${numberOf(block)}::int)[greatest(cardinality(present.recent_networks) + 2 - ${maxNetworks}, 1):] end,
            case when class = ${prefixes.fresh} then greatest(present.paced_until, now()) + make_interval(secs => ${paceSeconds})
              else present.paced_until end,
            excluded.expires_at
          from (select ${remembered} as kept) as row, lateral (${decision(source)}) as decision)
        returning guesses`)
      const guesses = rows[0]?.guesses ?? []
      const newest = guesses.at(-1)
      return { entry: newest?.includes(id) ? newest : undefined, guesses }
    },

    /** Removes a guess whose password was not compared. A first guess leaves its network and the pace as they were. */
    async release(key: string, entry: string, { block = sharedSource }: GuessSource): Promise<void> {
      const isFirst = entry.endsWith(firstMark)
      const paced = classOf(entry) === 'fresh' ? paceSeconds : 0
      const statement = db.execute(sql`
        update ${guessCounts} set guesses = array_remove(guesses, ${entry}),
          recent_networks = case when ${isFirst}::boolean then array_remove(recent_networks, ${numberOf(block)}::int) else recent_networks end,
          paced_until = paced_until - make_interval(secs => ${paced})
        where key = ${key} and ${entry} = any(guesses)`)
      await callEngine(queryTimeoutMs, statement, true)
    },

    /** After a wrong password: the guess counts until a correct one. */
    async fail(key: string, entry: string): Promise<void> {
      const statement = db.execute(sql`
        update ${guessCounts} set guesses = array_replace(guesses, ${entry}, ${failedEntry(entry)}) where key = ${key}`)
      await callEngine(queryTimeoutMs, statement)
    },

    /** After a correct password: forgets the guess and the earlier ones. Those that were reserved later still count. */
    async forgive(key: string, entry: string): Promise<void> {
      const isNewest = sql`guesses[cardinality(guesses)] = ${entry}`
      const removal = db.execute(sql`delete from ${guessCounts} where key = ${key} and ${isNewest}`)
      if ((await callEngine(queryTimeoutMs, removal, true)).rowCount === 1) return
      const statement = db.execute(sql`
        update ${guessCounts} set guesses = guesses[array_position(guesses, ${entry}) + 1:]
        where key = ${key} and ${entry} = any(guesses)`)
      await callEngine(queryTimeoutMs, statement, true)
    },

    /** Deletes the counts of addresses without a recent guess. */
    async deleteExpired(): Promise<void> {
      const expired = sql`select key from ${guessCounts} where expires_at < now() order by expires_at limit ${expiredRows}`
      await callEngine(queryTimeoutMs, db.execute(sql`delete from ${guessCounts} where key in (${expired})`), true)
    }
  }
}
