import type { KeyObject } from 'node:crypto'
import type { FetchRules } from '../contracts/fetch.ts'
import type {
  Delta,
  Heartbeat,
  Held,
  KeyFreshness,
  Revocations,
  Snapshot,
} from '../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Reason, StepUp } from './decision.ts'
import type { Moment } from './request.ts'

/** Wall clock, milliseconds since the epoch. */
export type Now = () => Moment
/** A moment as RFC 3339 text in UTC. */
export type FormatTime = (at: Moment) => string
/** Clock that never goes back, milliseconds from an arbitrary start. */
export type Monotonic = () => number
/** Uniform in [0, 1). */
export type Random = () => number
/** Resolves after `ms`, or rejects with the signal's reason as soon as it aborts. Never keeps the process alive. */
export type Sleep = (ms: number, signal: AbortSignal) => Promise<void>

/**
 * Something broke, as opposed to: something was refused. Thrown by adapters only. In a check it is
 * caught in decide.ts only, on the way into trust in trust/install.ts.
 */
export class Fault extends Error {
  readonly code: FaultCode
  constructor(code: FaultCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'Fault'
    this.code = code
  }

  /** Whatever was thrown, as a Fault. */
  static from(cause: unknown): Fault {
    return cause instanceof Fault ? cause : new Fault('internal', 'unexpected fault', cause)
  }
}
/** Each fault code is the reason it becomes when it reaches the door. */
export type FaultCode = Extract<Reason, 'policy_fault' | 'policy_undefined' | 'internal'>

/** What a policy module answered, after its shape was checked exactly. */
export interface Verdict {
  readonly effect: 'allow' | 'deny'
  readonly allow: readonly string[]
  readonly deny: readonly DenyRule[]
}
export interface DenyRule {
  readonly rule: string
  readonly reason: PolicyReason
  readonly hide: boolean
  /** Of `step_up_required`: what would do, where the rule says so. */
  readonly stepUp?: StepUp
}
/** Reasons a policy may give. Order is precedence: a foreign tenant learns nothing else (RFC 9110 section 15.5.4). */
export const POLICY_REASONS = [
  'tenant_mismatch',
  'insufficient_scope',
  'not_owner',
  'role_missing',
  'rar_mismatch',
  'limit_exceeded',
  'policy_denied',
  // Last: it invites the caller to come back stronger, which is of use only when nothing else stands in the way.
  'step_up_required',
] as const satisfies readonly Reason[]
export type PolicyReason = (typeof POLICY_REASONS)[number]

/** What a policy is handed only if it reads it. */
export const OPTIONAL_MEMBERS = [
  'token',
  'http',
  'authorization_details',
  'subject.acr',
  'subject.auth_time',
  'subject.amr',
  'subject.confirmation',
  'subject.actor',
  'subject.former_actors',
] as const
export type OptionalMember = (typeof OPTIONAL_MEMBERS)[number]

/** A loaded, self-tested policy module. Throws Fault when it cannot answer. */
export interface PolicyModule {
  readonly revision: string
  /** Whether any rule can read this member of the input; what none reads is not handed over. */
  reads(member: OptionalMember): boolean
  evaluate(inputJson: string): Verdict
  /** Bytes of WebAssembly memory held. */
  memoryBytes(): number
  /** Instances thrown away after a trap. */
  discards(): number
}

/** Answer to an attempt to change what is believed. */
export type Installed =
  | { readonly ok: true; readonly generation: number }
  | { readonly ok: false; readonly problems: readonly string[] }

/** Everything an operator may tell this sidecar. Snapshots, deltas and freshness take effect in order of arrival, the rest at once. */
export interface Believe {
  install(message: Snapshot, blob: BlobByDigest): Promise<Installed>
  amend(delta: Delta, blob: BlobByDigest): Promise<Installed>
  freshen(message: KeyFreshness): Promise<Installed>
  revoke(message: Revocations): Installed
  /** A stream begins now; what the one before had begun and not finished is forgotten. */
  greet(): void
  heartbeat(message: Heartbeat): void
  /** Milliseconds since the last confirmation that we know every revocation, by the monotonic clock. */
  silenceMs(): number
  /** What is in effect, for the operator. */
  held(): Omit<Held, 'trustSequence'>
  /** Every revocation in force, in bounded parts. */
  recall(): Iterable<Revocations>
  /** Forgets what has expired. */
  sweep(): void
}

/** Content of a file by the SHA-256 of its bytes, in hex; `undefined` when it is not at hand. */
export type BlobByDigest = (sha256: string) => Uint8Array | undefined

/** Operational log line: an event name and facts from a fixed vocabulary; never a token, claim or secret. */
export type Report = (event: string, facts?: Readonly<Record<string, Fact>>) => void
export type Fact = string | number | boolean | readonly string[]

/** What the JWKS source of an issuer can do when asked for keys now; `kid` is the one that is missed. `false`: could not be had. */
export type RefreshKeys = (issuer: string, signal: AbortSignal, kid?: string) => Promise<boolean>

/** Something that no sidecar shall accept any more, whatever else a token says. */
export interface DenyFact {
  readonly issuer: string
  readonly kind: 'jti' | 'sid' | 'sub' | 'clientId'
  /** 1 to 512 characters. */
  readonly value: string
  /** Only what was issued at or before this moment, milliseconds since the epoch; 0 for all. Needed for `sub` and `clientId`. */
  readonly issuedBeforeMs: number
  /** When everything that is meant has expired anyway, milliseconds since the epoch. */
  readonly expiresAtMs: number
}

/**
 * What became of a deny fact: every sidecar knows it or stops allowing once its lease has lapsed; nobody will ever take it; or the
 * operator could not be asked or had no room, so that it holds here alone: ask again.
 */
export type Revoked = 'stored' | 'refused' | 'unavailable'

/** In force here when it is called; resolves when it is known whether it is in force everywhere. Never rejects. */
export type RevokeEverywhere = (fact: DenyFact, signal: AbortSignal) => Promise<Revoked>

/** One outgoing HTTP GET. Rejects with a Fault-free Error that names the URL and what went wrong. */
export type FetchDocument = (url: string, rules: FetchRules, signal: AbortSignal) => Promise<Buffer>

/** Who the workload is, to those who ask for proof: an X509-SVID, or whatever certificate the configuration names. */
export interface ClientCredential {
  /** SPIFFE ID of the certificate; empty when it has none. */
  readonly spiffeId: string
  readonly privateKey: KeyObject
  /** PEM, leaf first. */
  readonly cert: string
  /** PEM (PKCS#8). Goes into a TLS context and nowhere else. */
  readonly key: string
}

/** The credential as it is now; `undefined` while there is none. Never rejects. */
export type OwnCredential = () => Promise<ClientCredential | undefined>
