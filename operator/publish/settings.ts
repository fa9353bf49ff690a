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
  readonly recalled: (what: Recollection) => Promise<string | undefined>
}

/** What one sidecar remembers. */
export interface Recollection {
  readonly pod: { readonly uid: string; readonly namespace: string; readonly name: string }
  readonly generation: number
  readonly revocationHead: number
  /** Only of issuers that this sidecar is to believe. */
  readonly entries: readonly Revocation[]
}
