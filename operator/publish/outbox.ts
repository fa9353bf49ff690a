import type { Held } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Monotonic } from '../ports.ts'
import { createNonces } from './nonces.ts'
import type { Offer } from './offers.ts'
import { createRevocationTrack, type LogPart } from './revocation-track.ts'
import { createSnapshotTrack, type SentSnapshot } from './snapshot-track.ts'

/** What of the world a stream is sent; the same for all, and encoded once. */
export interface Sources {
  trust(): { readonly sequence: number; readonly body: Buffer } | undefined
  revocationHead(): number
  revocationsSince(position: number): readonly LogPart[]
  offer(): Offer | undefined
}

/** What one sidecar was sent and has in effect; each of the four gives what it lacks of its kind, under a nonce. */
export interface Outbox {
  begin(held: Held): void
  trust(): Buffer | undefined
  revocations(): Buffer | undefined
  freshness(): Buffer | undefined
  snapshot(): Buffer | undefined
  /** Whether nothing was sent yet. */
  untold(): boolean
  /** The offer in effect, as far as this stream brought it or it is still offered. */
  inEffect(): Offer | undefined
  /** Whether a snapshot in effect or on its way references this file. */
  references(sha256: string): boolean
  /** What the nonce was for; undefined when no such nonce is open. */
  acked(nonce: string, held: Held | undefined): What | undefined
  nacked(nonce: string, held: Held | undefined): What | undefined
  /** Milliseconds that the oldest unanswered message has waited. */
  unansweredMs(): number
}

export type What = Sent['what']

type Sent =
  | { readonly what: 'trust' | 'freshness' }
  | { readonly what: 'revocations'; readonly head: number }
  | { readonly what: 'snapshot'; readonly sent: SentSnapshot }

/** Unanswered at once; beyond it everything coalesces until an answer comes. */
const OPEN = 16

export function createOutbox(sources: Sources, now: Monotonic): Outbox {
  const nonces = createNonces<Sent>(now)
  const log = createRevocationTrack(sources.revocationHead, sources.revocationsSince)
  const snapshots = createSnapshotTrack(sources.offer, now)
  let trustSequence = 0
  const answered = (nonce: string, held: Held | undefined): Sent | undefined => {
    if (held) snapshots.holds(held.generation)
    return nonces.take(nonce)
  }
  return {
    begin(held) {
      trustSequence = held.trustSequence
      log.begin(held.revocationHead)
      snapshots.begin(held.generation)
    },
    trust() {
      const bundle = sources.trust()
      if (!bundle || bundle.sequence <= trustSequence || nonces.open() >= OPEN) return undefined
      trustSequence = bundle.sequence
      return nonces.send(bundle.body, { what: 'trust' })
    },
    revocations() {
      const part = nonces.open() < OPEN ? log.next() : undefined
      return part && nonces.send(part.body, { what: 'revocations', head: part.head })
    },
    freshness() {
      const body = nonces.open() < OPEN ? snapshots.freshness() : undefined
      return body && nonces.send(body, { what: 'freshness' })
    },
    snapshot() {
      const sent = snapshots.next()
      return sent && nonces.send(sent.body, { what: 'snapshot', sent })
    },
    untold: () => nonces.count() === 0,
    inEffect: snapshots.inEffect,
    references: snapshots.references,
    acked(nonce, held) {
      const of = answered(nonce, held)
      if (of?.what === 'snapshot') snapshots.acked(of.sent)
      if (of?.what === 'revocations') log.acked()
      return of?.what
    },
    nacked(nonce, held) {
      const of = answered(nonce, held)
      if (of?.what === 'snapshot') snapshots.nacked(of.sent)
      if (of?.what === 'revocations') log.nacked(of.head, held?.revocationHead ?? 0)
      return of?.what
    },
    unansweredMs: nonces.oldestMs,
  }
}
