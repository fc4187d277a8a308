/**
 * Loaded before user-svc (`--import`): removes the work of decoys and the least durations from its sources as they load, so that the
 * measurement of response times can be seen to fail. DECOYS_REMOVED names them.
 */

import { registerHooks } from 'node:module'

interface Removal {
  file: string
  text: string
  instead: string
}

const removals: Record<string, Removal[]> = {
  // A check without a hash costs no hash.
  hashes: [
    {
      file: 'user-svc/passwords/password-hashes.ts',
      text: "await this.#checkDecoy(password ?? 'no account has this password', signal)",
      instead: ''
    }
  ],
  // A cheaper hash costs less.
  costs: [
    {
      file: 'user-svc/passwords/password-hashes.ts',
      text: 'if (!matches) await this.#topUp(password, rounds, signal)',
      instead: ''
    }
  ],
  // A request for an unknown address writes no row.
  emails: [
    {
      file: 'user-svc/accounts/request-password-reset.ts',
      text: 'counted left join account on true',
      instead: 'counted join account on true'
    }
  ],
  // A statement takes its own time.
  durations: [
    {
      file: 'user-svc/least-duration.ts',
      text: 'Promise.all([work, clock.sleep(ms)])',
      instead: 'Promise.all([work])'
    }
  ]
}

const removed = (process.env.DECOYS_REMOVED ?? '').split(',').flatMap((name) => removals[name] ?? [])

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context)
    const matching = removed.filter(({ file }) => url.endsWith(`/${file}`))
    if (matching.length === 0) return loaded
    let source = String(loaded.source)
    for (const { file, text, instead } of matching) {
      if (!source.includes(text)) throw new Error(`${file} has no ${text}`)
      source = source.replace(text, instead)
    }
    return { ...loaded, source }
  }
})
