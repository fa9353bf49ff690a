import type { Now } from '../ports.ts'
import { CANARY_ID } from '../state/canary.ts'
import type { RevocationLog } from '../state/revocation-log.ts'

/** Measures how long the canary takes from the leader's append to the word of each sidecar that hears this replica. */
export interface CanaryWatch {
  /** The log is told from now on to those sidecars. */
  published(log: RevocationLog, uids: Iterable<string>): void
  /** It knows everything up to there. */
  acked(uid: string, head: number): void
  /** It hears this replica no more. */
  gone(uid: string): void
}

/** `observe` is told seconds. Clocks of replicas differ by what their nodes' do; less than nothing is nothing. */
export function createCanaryWatch(now: Now, observe: (seconds: number) => void): CanaryWatch {
  /** By UID, the oldest canary that it has not acknowledged: a slow sidecar is measured by the first one it missed. */
  const waiting = new Map<string, { readonly sequence: number; readonly at: number }>()
  let last = 0
  return {
    published({ live }, uids) {
      const canary = live.get(CANARY_ID)
      if (!canary || canary.sequence <= last) return
      // What was appended before this replica began would be measured wrongly.
      const first = last === 0
      last = canary.sequence
      if (first) return
      const mark = { sequence: last, at: canary.entry.issuedBeforeMs }
      for (const uid of uids) if (!waiting.has(uid)) waiting.set(uid, mark)
    },
    acked(uid, head) {
      const mark = waiting.get(uid)
      if (!mark || head < mark.sequence) return
      waiting.delete(uid)
      observe(Math.max(0, now() - mark.at) / 1000)
    },
    gone: (uid) => void waiting.delete(uid),
  }
}
