import type { Monotonic } from '../ports.ts'
import type { Offer } from './offers.ts'

/** Which snapshot one sidecar has, and which is on its way. */
export interface SnapshotTrack {
  begin(generation: number): void
  /** The next one to send: as a difference where the sidecar holds what that builds on. */
  next(): SentSnapshot | undefined
  freshness(): Buffer | undefined
  acked(sent: SentSnapshot): void
  nacked(sent: SentSnapshot): void
  /** The sidecar says that it holds less than it acknowledged. */
  holds(generation: number): void
  inEffect(): Offer | undefined
  /** In effect or on its way. */
  references(sha256: string): boolean
}

export interface SentSnapshot {
  readonly offer: Offer
  readonly whole: boolean
  readonly body: Buffer
}

/** After which a refused snapshot is offered once more: files that did not come in time, a sidecar that was short of memory. */
export const RETRY_MS = 60_000

export function createSnapshotTrack(offered: () => Offer | undefined, now: Monotonic): SnapshotTrack {
  let generation = 0
  let effective: Offer | undefined
  let terms = ''
  let underWay: Offer | undefined
  let refused = { generation: -1, at: 0 }
  let wholeOnly = false

  const inEffect = (): Offer | undefined => {
    const offer = offered()
    return [offer, effective].find((one) => one?.generation === generation)
  }
  const ended = ({ offer }: SentSnapshot): void => {
    if (offer === underWay) underWay = undefined
  }
  return {
    inEffect,
    begin(held) {
      generation = held
    },
    next() {
      const offer = offered()
      // One at a time: what changes meanwhile coalesces. A number that is not greater would be refused; the leader gives a new one.
      if (!offer || underWay || offer.generation <= generation) return undefined
      if (offer.generation === refused.generation && now() - refused.at < RETRY_MS) return undefined
      const delta = wholeOnly ? undefined : offer.since(generation)
      const whole = !delta || delta.length >= offer.whole().length
      underWay = offer
      terms = whole ? offer.terms : ''
      return { offer, whole, body: whole ? offer.whole() : delta }
    },
    freshness() {
      const offer = offered()
      if (offer?.generation !== generation || offer.terms === terms) return undefined
      terms = offer.terms
      return offer.projection.issuers.size > 0 ? offer.freshness() : undefined
    },
    acked(sent) {
      ended(sent)
      generation = sent.offer.generation
      effective = sent.offer
      wholeOnly = false
    },
    nacked(sent) {
      ended(sent)
      // A difference may be refused for what it builds on; the whole has no such excuse.
      if (sent.whole) refused = { generation: sent.offer.generation, at: now() }
      else wholeOnly = true
    },
    holds(held) {
      if (held < generation) generation = held
    },
    references: (sha256) =>
      [underWay, inEffect()].some((offer) => offer?.projection.blobs.has(sha256) === true),
  }
}
