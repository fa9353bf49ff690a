import type { TokenIssuer, TokenIssuerStatus } from '../../contracts/crd/token-issuer.ts'
import { REFRESH_NOW } from '../../contracts/crd.ts'
import { formatTime, parseTime } from '../../contracts/time.ts'
import type { Metadata } from '../gather/metadata.ts'
import { adviseOnIssuer, type Demands } from './advice.ts'
import { bad, good, judge, programmed, type Rollout, readyFrom } from './judgement.ts'

/** What was found out about the keys of an issuer. */
export interface KeysSeen {
  readonly sha256: string
  readonly etag: string
  readonly fetchedAtMs: number
  /** 0: never. */
  readonly notAfterMs: number
  readonly kids: readonly { readonly kid: string; readonly algorithm: string }[]
  /** Why the last attempt failed; empty when it did not. */
  readonly problem: string
  /** Value of the refresh-now annotation that was served last. */
  readonly refreshedNow: string
  /** What the issuer says of itself; undefined while nobody asked. */
  readonly metadata: Metadata | undefined
}

/** What is known of an issuer beside its object. */
export interface IssuerSeen {
  readonly keys: KeysSeen | undefined
  readonly demands: Demands
}

/** Times in status move at most this often, so that a poll every 15 s is no write every 15 s. */
const REWRITE_MS = 60_000
const KIDS = 64

/** What the status of a TokenIssuer is to say. */
export function planTokenIssuer(
  issuer: TokenIssuer,
  { keys, demands }: IssuerSeen,
  rollout: Rollout,
  at: number,
): TokenIssuerStatus {
  const { generation } = issuer.metadata
  const judged = [freshness(keys, at), programmed(rollout)]
  const before = issuer.status
  const kids = knownKids(issuer, keys, at)
  const published = new Set((keys?.kids ?? []).map(({ kid }) => kid))
  const known = { metadata: keys?.metadata, kids, published, demands }
  return {
    observedGeneration: generation,
    conditions: [...judge(before?.conditions, [...judged, readyFrom(judged)], { generation, at })],
    jwks: {
      keys: keys?.kids.length ?? 0,
      ...(keys?.sha256 ? { sha256: keys.sha256 } : {}),
      ...(keys && keys.fetchedAtMs > 0
        ? { fetchedAt: settled(before?.jwks?.fetchedAt, keys.fetchedAtMs) }
        : {}),
      ...(keys?.etag ? { etag: keys.etag } : {}),
      lastError: (keys?.problem ?? '').slice(0, 1024),
      refreshedNow: keys?.refreshedNow ?? '',
      kids,
    },
    advisories: adviseOnIssuer(issuer, known, at),
    programmed: rollout.text,
  }
}

function freshness(keys: KeysSeen | undefined, at: number) {
  if (!keys) return bad('JwksFresh', 'NotFetched', 'spec.jwks: not fetched yet')
  const remedy = keys.problem || 'the source has not answered'
  if (keys.kids.length === 0) return bad('JwksFresh', 'NoKeys', `spec.jwks: no usable keys; ${remedy}`)
  if (keys.notAfterMs !== 0 && at >= keys.notAfterMs) {
    return bad(
      'JwksFresh',
      'Stale',
      `spec.jwks: not confirmed since ${formatTime(keys.fetchedAtMs)}, longer than spec.jwks.maxStale; tokens of this issuer are denied; ${remedy}`,
    )
  }
  if (keys.problem)
    return good(
      'JwksFresh',
      'LastFetchFailed',
      `the keys held are used until ${formatTime(keys.notAfterMs)}; ${keys.problem}`,
    )
  return good('JwksFresh', 'Fetched')
}

type Kids = NonNullable<NonNullable<TokenIssuerStatus['jwks']>['kids']>

function knownKids(issuer: TokenIssuer, keys: KeysSeen | undefined, at: number): Kids {
  const revoked = new Set(issuer.spec.revokedKids ?? [])
  const before = new Map((issuer.status?.jwks?.kids ?? []).map((one) => [one.kid, one]))
  const published = keys?.kids ?? []
  const current = published.map(({ kid, algorithm }) => {
    const known = before.get(kid)
    const lastSeen = settled(known?.lastSeen, keys?.fetchedAtMs || at)
    return { kid, algorithm, firstSeen: known?.firstSeen ?? lastSeen, lastSeen, revoked: revoked.has(kid) }
  })
  const names = new Set(published.map(({ kid }) => kid))
  const gone = [...before.values()].filter(({ kid }) => !names.has(kid))
  return [...current, ...gone.map((one) => ({ ...one, revoked: revoked.has(one.kid) }))].slice(0, KIDS)
}

/** What people want to know of a new key set: keys that appeared, keys that left. */
export function keyNews(before: readonly string[], now: readonly string[]): readonly string[] {
  const [old, current] = [new Set(before), new Set(now)]
  return [
    ...now.filter((kid) => !old.has(kid)).map((kid) => `key ${kid} is published`),
    ...before.filter((kid) => !current.has(kid)).map((kid) => `key ${kid} is no longer published`),
  ]
}

function settled(before: string | undefined, nowMs: number): string {
  const elapsed = before === undefined ? Number.POSITIVE_INFINITY : nowMs - (parseTime(before) ?? 0)
  return before !== undefined && elapsed >= 0 && elapsed < REWRITE_MS ? before : formatTime(nowMs)
}

/** The refresh-now annotation as it stands; empty when there is none. */
export function refreshAsked(issuer: TokenIssuer): string {
  return (issuer.metadata.annotations[REFRESH_NOW] ?? '').slice(0, 256)
}
