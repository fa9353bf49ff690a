import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Clocks, Report } from '../ports.ts'
import type { RefreshKeys } from './refresh.ts'
import type { AppendRevocations } from './revokes.ts'

export interface PublisherConfig {
  readonly trustDomain: string
  /** At once. */
  readonly streams: number
  /** After which a stream is told to connect again, spread by a tenth to either side. */
  readonly streamAgeMs: number
  readonly heartbeatMs: number
  /** How long changes of policies and keys are collected: after the last one, and in all. */
  readonly debounceMs: { readonly quiet: number; readonly most: number }
  /** How far ahead of the operator a sidecar may say to be and be believed. */
  readonly aheadCap: number
}

export const PUBLISHER_DEFAULTS = {
  streams: 6_000,
  streamAgeMs: 30 * 60_000,
  heartbeatMs: 1_000,
  debounceMs: { quiet: 20, most: 500 },
  aheadCap: 1_000_000,
} as const satisfies Omit<PublisherConfig, 'trustDomain'>

export interface PublisherPorts extends Clocks {
  readonly report: Report
  /** Whether this replica knows of every revocation: its watch is in sync, and no other replica is ahead of it. */
  readonly mayVouch: () => boolean
  /** By the leader; on the leader itself, by its own fetcher. */
  readonly refreshKeys: RefreshKeys
  /** A sidecar knows the canary, so many seconds after it was appended. */
  readonly propagated: (seconds: number) => void
  /** By the leader. */
  readonly append: AppendRevocations
  /**
   * The fleet remembers what the operator has forgotten. Resolves when log and generations are merged, stored, and were given to
   * `update`; or to why they could not be.
   */
  readonly recalled: (what: Recollection) => Promise<Unkept | undefined>
  /** UIDs of sidecars that know something which could not be stored, and the TokenIssuers that it may be about: who is or believes one is not vouched for. */
  readonly doubted: () => ReadonlySet<string>
}

/** What was recalled could not be stored. */
export interface Unkept {
  readonly why: string
  /** There is no room for it, and there will be none when it is told again. */
  readonly full: boolean
}

/** What one sidecar remembers. */
export interface Recollection {
  readonly pod: { readonly uid: string; readonly namespace: string; readonly name: string }
  readonly generation: number
  readonly revocationHead: number
  /** Only of issuers that this sidecar is to believe. */
  readonly entries: readonly Revocation[]
  /** The TokenIssuers that it may speak of: those of its own projection. */
  readonly sources: readonly string[]
  /** The first part, or all of it. */
  readonly begins: boolean
  /** This replica remembers it, and no sidecar has told it. */
  readonly own: boolean
}
