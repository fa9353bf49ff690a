import type { Now, Random, Sleep } from '../ports.ts'

/** Keeps something that expires renewed. */
export interface Renewal {
  /** Milliseconds until it is time; 0 or less: now. Asked again and again, so that a jump of the clock or a revocation is seen. */
  readonly dueInMs: () => number
  /** Rejects when it could not be done; tried again with back-off. */
  readonly renew: (signal: AbortSignal) => Promise<void>
  readonly failed: (cause: unknown, retryMs: number) => void
}

export interface RenewalNeeds {
  readonly sleep: Sleep
  readonly random: Random
}

/** Longest sleep: a suspended machine or a stepped clock is noticed within this. */
const LONGEST_SLEEP_MS = 30_000
const FIRST_RETRY_MS = 200
const LONGEST_RETRY_MS = 30_000

export interface Renewer {
  /** Runs until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Looks at once whether it is due: something has changed. */
  nudge(): void
}

export function createRenewer(renewal: Renewal, { sleep, random }: RenewalNeeds): Renewer {
  let failures = 0
  let nudged = new AbortController()
  const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
    await sleep(ms, AbortSignal.any([signal, nudged.signal])).catch(() => undefined)
    if (nudged.signal.aborted) nudged = new AbortController()
  }
  const once = async (signal: AbortSignal): Promise<void> => {
    const due = renewal.dueInMs()
    if (due > 0) return pause(Math.min(due, LONGEST_SLEEP_MS), signal)
    try {
      await renewal.renew(signal)
      failures = 0
    } catch (cause) {
      if (signal.aborted) return
      const ms = retryMs(failures++, random)
      renewal.failed(cause, ms)
      await pause(ms, signal)
    }
  }
  return {
    nudge: () => nudged.abort(),
    async run(signal) {
      while (!signal.aborted) await once(signal)
    },
  }
}

/** 0.2 s, doubled with each failure up to 30 s, of which half is left to chance: a fleet does not come back in step. */
export function retryMs(failures: number, random: Random): number {
  const full = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 16))
  return full * (0.5 + 0.5 * random())
}

/** When to renew what was received now: at half of the life that is left, give or take a tenth. */
export function renewalMoment(notAfterMs: number, wall: Now, random: Random): number {
  const at = wall()
  return at + ((notAfterMs - at) / 2) * (0.9 + 0.2 * random())
}
