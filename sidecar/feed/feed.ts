import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { RefreshKeys, Revoked } from '../ports.ts'

/** Where beliefs come from: files and key sets (standalone.ts), or an operator (operator.ts). */
export interface Feed {
  /** First reading of everything. Resolves when each source was tried once, whatever came of it. */
  load(signal: AbortSignal): Promise<void>
  /** Keeps up until the signal aborts; then it rejects with the signal's reason. */
  run(signal: AbortSignal): Promise<void>
  /** Reads bundle and key files again now (SIGHUP). */
  reload(signal: AbortSignal): Promise<void>
  readonly refreshKeys: RefreshKeys
  /** Has every other sidecar deny this, too; standalone there is none. */
  readonly revoke: (entry: Revocation, signal: AbortSignal) => Promise<Revoked>
  readonly sources: readonly KeySource[]
  /** Why the newest policy is not in use; empty when it is. */
  bundleProblem(): string
  readonly activations: { readonly ok: number; readonly refused: number }
  /** The stream to the operator; `undefined` standalone. */
  readonly stream: StreamView | undefined
}

/** What is known about the key set of one issuer that this sidecar fetches itself. */
export interface KeySource {
  readonly issuer: string
  problem(): string
  fetchedAt(): number | undefined
  readonly counts: { readonly ok: number; readonly failed: number }
}

export interface StreamView {
  /** Whether a stream is open on which the operator has been heard. */
  connected(): boolean
  /** Why not; empty when it is. */
  problem(): string
  /** Sequence of the trust bundle in use. */
  trustSequence(): number
  readonly counts: {
    readonly streams: number
    readonly nacks: number
    /** Unknown `kid`s told to the operator, by what came of it. */
    readonly refreshes: { readonly ok: number; readonly failed: number }
  }
}
