import { describe, expect, test } from 'vitest'
import { parsePolicyBundle } from '../../../contracts/crd/policy-bundle.ts'
import { parseTrustDomain } from '../../../contracts/crd/trust-domain.ts'
import { parseWorkloadIdentity } from '../../../contracts/crd/workload-identity.ts'
import type { Condition } from '../../../contracts/crd.ts'
import { planAccessPolicy, type Served } from '../../../operator/reconcile/access-policy.ts'
import { judge, programmed, type Rollout, readyFrom } from '../../../operator/reconcile/judgement.ts'
import { type Attempt, type InForce, planPolicyBundle } from '../../../operator/reconcile/policy-bundle.ts'
import { type Logged, planRevocation } from '../../../operator/reconcile/revocation.ts'
import { planRollback, ROLLED_BACK } from '../../../operator/reconcile/rollback.ts'
import { type Audited, planSidecarProfile } from '../../../operator/reconcile/sidecar-profile.ts'
import { type KeysSeen, keyNews, planTokenIssuer } from '../../../operator/reconcile/token-issuer.ts'
import { planWorkloadIdentity } from '../../../operator/reconcile/workload-identity.ts'
import { accessPolicy, revocation, sidecarProfile, tokenIssuer } from '../state/objects.ts'

// What people read with kubectl: each condition with its reason, and a message that names the place, what is wrong and what to do.

const AT = Date.UTC(2026, 0, 1)
const ALL: Rollout = { acknowledged: 2, total: 2, text: '2/2 at x', refused: [], silent: [] }
const SOME: Rollout = { acknowledged: 1, total: 2, text: '1/2 at x', refused: [], silent: ['shop/b'] }
const SPOILT: Rollout = { ...SOME, silent: [], refused: ['shop/b: digest does not match', 'shop/c: no'] }

const said = (conditions: readonly Condition[] | undefined, type: string): string => {
  const found = conditions?.find((one) => one.type === type)
  return found ? `${found.status} ${found.reason} ${found.message}`.trim() : 'none'
}

/** The object as it stands after its status was written. */
function written<T extends { readonly status?: unknown }>(object: T, status: unknown): T {
  return { ...object, status } as T
}

describe('Programmed', () => {
  test.each<readonly [string, Rollout, string]>([
    ['everybody has it', ALL, 'True AllAcknowledged 2/2 at x'],
    [
      'nobody is there',
      { ...ALL, acknowledged: 0, total: 0, text: '0/0 at x' },
      'True AllAcknowledged 0/0 at x',
    ],
    ['somebody is silent', SOME, 'False Pending 1/2 at x; not yet: shop/b'],
    [
      'somebody refuses',
      SPOILT,
      'False Refused 1/2 at x; refused by shop/b: digest does not match; and 1 more',
    ],
    [
      'many are silent',
      { ...SOME, silent: ['a', 'b', 'c', 'd', 'e', 'f'] },
      'False Pending 1/2 at x; not yet: a, b, c, d, e, …',
    ],
    ['nobody to name', { ...SOME, silent: [] }, 'False Pending 1/2 at x'],
  ])('%s', (_name, rollout, want) => {
    expect(said([...judge([], [programmed(rollout)], { generation: 1, at: AT })], 'Programmed')).toBe(want)
  })

  test('Ready is the first that is not True, and says why', () => {
    const refused = programmed(SPOILT)
    expect(readyFrom([programmed(ALL), refused])).toEqual({ ...refused, type: 'Ready' })
    expect(readyFrom([programmed(ALL)])).toMatchObject({ type: 'Ready', status: 'True' })
  })

  test('a message is cut to what the API server takes', () => {
    const long = { ...SPOILT, refused: [`shop/b: ${'x'.repeat(100_000)}`] }
    const [condition] = judge([], [programmed(long)], { generation: 1, at: AT })
    expect(condition?.message.length).toBeLessThanOrEqual(32_768)
  })
})

describe('AccessPolicy', () => {
  const policy = accessPolicy('shop', 'front')
  const good: Served = { problems: [], conflictsWith: [], pods: 2, sameAudience: [], notAsked: [] }
  test.each<readonly [string, Served, Rollout, string, string]>([
    ['all is well', good, ALL, 'Ready', 'True Ready'],
    ['all is well', good, ALL, 'Conflict', 'False None'],
    [
      'a reference leads nowhere',
      { ...good, problems: ['spec.issuers[0]: there is no TokenIssuer x in namespace shop'] },
      ALL,
      'ResolvedRefs',
      'False NotResolved spec.issuers[0]: there is no TokenIssuer x in namespace shop; until then everything is denied',
    ],
    [
      'another says something else',
      { ...good, conflictsWith: ['back'] },
      ALL,
      'Conflict',
      'True Contradicted back selects some of the same pods and says something else; those pods deny everything: change the selector of all but one',
    ],
    [
      'another says something else',
      { ...good, conflictsWith: ['back'] },
      ALL,
      'Ready',
      'False Conflict back selects some of the same pods and says something else; those pods deny everything: change the selector of all but one',
    ],
    ['somebody is silent', good, SOME, 'Ready', 'False Pending 1/2 at x; not yet: shop/b'],
  ])('%s: %s', (...[, served, rollout, type, want]) => {
    expect(said(planAccessPolicy(policy, served, rollout, AT).conditions, type)).toBe(want)
  })

  test('nothing changed, whatever the time: the same status', () => {
    const first = planAccessPolicy(policy, good, ALL, AT)
    expect(planAccessPolicy(written(policy, first), good, ALL, AT + 3_600_000)).toEqual(first)
  })

  test('a condition keeps its time while it keeps its status', () => {
    const first = planAccessPolicy(policy, good, SOME, AT)
    const later = planAccessPolicy(written(policy, first), good, SPOILT, AT + 60_000)
    const of = (conditions: typeof first.conditions) => conditions?.find(({ type }) => type === 'Programmed')
    expect(of(later.conditions)?.lastTransitionTime).toBe(of(first.conditions)?.lastTransitionTime)
    const done = planAccessPolicy(written(policy, later), good, ALL, AT + 60_000)
    expect(of(done.conditions)?.lastTransitionTime).toBe('2026-01-01T00:01:00Z')
  })
})

describe('PolicyBundle', () => {
  const parsed = parsePolicyBundle({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'PolicyBundle',
    metadata: { name: 'rules', namespace: 'shop', uid: 'u' },
    spec: { source: { type: 'Inline', inline: { modules: [{ path: 'a.rego', rego: 'package app' }] } } },
  })
  if (!parsed.ok) throw new Error(parsed.problems.join())
  const bundle = parsed.value
  const wasm = { sha256: '0'.repeat(64), bytes: 10 }
  const inForce: InForce = { revision: `sha256:${'1'.repeat(64)}`, wasm }
  const stays = '; revision sha256:111111111111 stays in force'
  const nothing = '; there is no earlier revision, so everything is denied'
  const attempt = (outcome: Attempt['outcome']): Attempt => ({ sourceDigest: 'sha256:s', outcome })
  const refused = (stage: 'compile' | 'test', count = 1) =>
    attempt({
      kind: 'refused',
      stage,
      problems: Array.from({ length: count }, (_, index) => ({
        file: 'a.rego',
        line: index + 3,
        message: 'bad',
      })),
    })

  test.each<readonly [string, Attempt | undefined, InForce | undefined, string, string]>([
    ['not looked at yet', undefined, undefined, 'Compiled', 'Unknown Pending not looked at yet'],
    [
      'source away',
      attempt({ kind: 'unreadable', message: 'ConfigMap a/b: there is none' }),
      inForce,
      'Compiled',
      `False SourceUnreadable spec.source: ConfigMap a/b: there is none${stays}`,
    ],
    [
      'source away',
      attempt({ kind: 'unreadable', message: 'x' }),
      undefined,
      'Compiled',
      `False SourceUnreadable spec.source: x${nothing}`,
    ],
    [
      'does not compile',
      refused('compile'),
      inForce,
      'Compiled',
      `False DoesNotCompile a.rego:3: bad${stays}`,
    ],
    ['does not compile', refused('compile'), inForce, 'Signed', 'Unknown Blocked an earlier stage failed'],
    [
      'many problems',
      refused('compile', 5),
      inForce,
      'Compiled',
      `False DoesNotCompile a.rego:3: bad; a.rego:4: bad; a.rego:5: bad and 2 more, see status.problems${stays}`,
    ],
    ['a test fails', refused('test'), inForce, 'Compiled', 'True Checked'],
    ['a test fails', refused('test'), inForce, 'TestsPassed', `False TestsFailed a.rego:3: bad${stays}`],
    [
      'the issuer is away',
      attempt({ kind: 'unsigned', message: 'the issuer did not sign' }),
      inForce,
      'Signed',
      `False NotSigned the issuer did not sign${stays}`,
    ],
    [
      'signed',
      attempt({ kind: 'signed', tests: 3, keyId: 'k1' }),
      inForce,
      'Signed',
      'True Signed by key k1',
    ],
    [
      'signed',
      attempt({ kind: 'signed', tests: 3, keyId: 'k1' }),
      inForce,
      'TestsPassed',
      'True Passed 3 tests',
    ],
    ['signed', attempt({ kind: 'signed', tests: 3, keyId: 'k1' }), inForce, 'Ready', 'True Ready'],
  ])('%s: %s', (...[, tried, before, type, want]) => {
    const status = planPolicyBundle(bundle, { attempt: tried, inForce: before }, ALL, AT)
    expect(said(status.conditions, type)).toBe(want)
  })

  test('every problem is listed with file and line, within the bounds of the schema', () => {
    const status = planPolicyBundle(bundle, { attempt: refused('compile', 2), inForce }, ALL, AT)
    expect(status.problems).toEqual([
      { file: 'a.rego', line: 3, message: 'bad' },
      { file: 'a.rego', line: 4, message: 'bad' },
    ])
    expect(status.revision).toBe(inForce.revision)
  })

  test('nothing changed: the same status', () => {
    const facts = { attempt: refused('compile'), inForce }
    const first = planPolicyBundle(bundle, facts, ALL, AT)
    expect(planPolicyBundle(written(bundle, first), facts, ALL, AT + 1e6)).toEqual(first)
  })
})

describe('Revocation', () => {
  const object = revocation('shop', 'r', {}, { creationTimestamp: '2025-12-31T23:59:57Z' })
  const there: Logged = { problem: '', inForce: true }
  test.each<readonly [string, Logged, Rollout, number, string, string]>([
    ['everywhere', there, ALL, AT, 'Programmed', 'True AllAcknowledged 2/2 at x'],
    ['on its way', there, SOME, AT, 'Programmed', 'False Pending 1/2 at x; not yet: shop/b'],
    [
      'not stored yet',
      { problem: '', inForce: false },
      ALL,
      AT,
      'Programmed',
      'False Pending not in the revocation log yet',
    ],
    [
      'it cannot be read',
      { problem: 'spec.issuerRef.name: there is no TokenIssuer idp', inForce: false },
      ALL,
      AT,
      'Ready',
      'False Refused spec.issuerRef.name: there is no TokenIssuer idp',
    ],
    [
      'it is over',
      there,
      SOME,
      Date.UTC(2031, 0),
      'Expired',
      'True Expired it no longer denies anything; delete it',
    ],
    ['it is over', there, SOME, Date.UTC(2031, 0), 'Ready', 'True Ready'],
  ])('%s: %s', (...[, logged, rollout, at, type, want]) => {
    expect(said(planRevocation(object, logged, rollout, at).conditions, type)).toBe(want)
  })

  test('when it was first enforced everywhere, and after how many seconds, is said once', () => {
    expect(planRevocation(object, there, SOME, AT).enforcedAt).toBeUndefined()
    const first = planRevocation(object, there, ALL, AT)
    expect(first).toMatchObject({ enforcedAt: '2026-01-01T00:00:00Z', seconds: 3 })
    const later = planRevocation(written(object, first), there, SOME, AT + 60_000)
    expect(later).toMatchObject({ enforcedAt: '2026-01-01T00:00:00Z', seconds: 3 })
  })

  test('an end with another zone is read as the moment that it is', () => {
    const zoned = revocation('shop', 'z', { expiresAt: '2026-01-01T02:00:00+02:00' })
    expect(said(planRevocation(zoned, there, ALL, AT).conditions, 'Expired')).toMatch(/^True Expired/)
  })
})

describe('TokenIssuer', () => {
  const object = tokenIssuer('shop', 'idp', { revokedKids: ['k2'] })
  const keys: KeysSeen = {
    sha256: 'a'.repeat(64),
    etag: 'W/1',
    fetchedAtMs: AT,
    notAfterMs: AT + 600_000,
    kids: [{ kid: 'k1', algorithm: 'RS256' }],
    problem: '',
    refreshedNow: '',
    metadata: undefined,
  }
  const found = (seen: KeysSeen | undefined) => ({
    keys: seen,
    demands: { constraints: [], acrValues: new Set<string>() },
  })
  test.each<readonly [string, KeysSeen | undefined, number, string]>([
    ['never fetched', undefined, AT, 'False NotFetched spec.jwks: not fetched yet'],
    [
      'no keys',
      { ...keys, kids: [], problem: 'https://idp: 404' },
      AT,
      'False NoKeys spec.jwks: no usable keys; https://idp: 404',
    ],
    ['fetched', keys, AT, 'True Fetched'],
    [
      'the last fetch failed',
      { ...keys, problem: 'timeout' },
      AT,
      'True LastFetchFailed the keys held are used until 2026-01-01T00:10:00Z; timeout',
    ],
    [
      'stale',
      { ...keys, problem: 'timeout' },
      AT + 600_000,
      'False Stale spec.jwks: not confirmed since 2026-01-01T00:00:00Z, longer than spec.jwks.maxStale; tokens of this issuer are denied; timeout',
    ],
    ['inline keys never go stale', { ...keys, notAfterMs: 0 }, AT + 1e10, 'True Fetched'],
  ])('JwksFresh, %s', (_name, seen, at, want) => {
    expect(said(planTokenIssuer(object, found(seen), ALL, at).conditions, 'JwksFresh')).toBe(want)
  })

  test('a poll is no write: times move once a minute at most', () => {
    const first = planTokenIssuer(object, found(keys), ALL, AT)
    const polled = { ...keys, fetchedAtMs: AT + 15_000, notAfterMs: AT + 615_000 }
    expect(planTokenIssuer(written(object, first), found(polled), ALL, AT + 15_000)).toEqual(first)
    const later = { ...keys, fetchedAtMs: AT + 61_000 }
    expect(planTokenIssuer(written(object, first), found(later), ALL, AT + 61_000).jwks?.fetchedAt).toBe(
      '2026-01-01T00:01:01Z',
    )
  })

  test('001-19, 000-33: keys that left are remembered with when they were seen, revoked ones are marked', () => {
    const first = planTokenIssuer(object, found(keys), ALL, AT)
    const next = { ...keys, fetchedAtMs: AT + 90_000, kids: [{ kid: 'k2', algorithm: 'RS256' }] }
    const after = planTokenIssuer(written(object, first), found(next), ALL, AT + 90_000)
    expect(after.jwks?.kids).toMatchObject([
      { kid: 'k2', firstSeen: '2026-01-01T00:01:30Z', revoked: true },
      { kid: 'k1', lastSeen: '2026-01-01T00:00:00Z', revoked: false },
    ])
  })

  test('000-33: news are the keys that came and the keys that went', () => {
    expect(keyNews(['a', 'b'], ['b', 'c'])).toEqual(['key c is published', 'key a is no longer published'])
    expect(keyNews(['a'], ['a'])).toEqual([])
  })
})

describe('SidecarProfile', () => {
  const profile = sidecarProfile('default', {})
  const injection = { image: 'i', args: [], trustAnchors: [], env: [] }
  const pods = (missing: number, outdated = 0): Audited => ({
    pods: { injected: 1, missing, outdated },
    missingSample: missing > 0 ? ['shop/a'] : [],
  })
  test.each<readonly [string, Audited, typeof injection | undefined, string]>([
    ['all is well', pods(0), injection, 'True Ready'],
    ['some are outdated', pods(0, 2), injection, 'True Ready 2 pods have an earlier sidecar; restart them'],
    [
      'some lack it',
      pods(1),
      injection,
      'False SidecarsMissing 1 running pods that should have the sidecar lack it, among them shop/a: recreate them',
    ],
    [
      'no trust bundle yet',
      pods(0),
      undefined,
      'False NoTrustAnchors there is no trust bundle yet: nothing can be injected; see the issuer',
    ],
  ])('%s', (_name, audited, injected, want) => {
    expect(said(planSidecarProfile(profile, audited, injected, AT).conditions, 'Ready')).toBe(want)
  })
})

describe('WorkloadIdentity', () => {
  const parsed = parseWorkloadIdentity({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'WorkloadIdentity',
    metadata: { name: 'w', namespace: 'shop', uid: 'u' },
    spec: { selector: { matchLabels: { app: 'shop' } }, path: '/ns/shop/web' },
  })
  if (!parsed.ok) throw new Error(parsed.problems.join())
  const identity = parsed.value
  test('says which identities there are, each once, and for how many pods', () => {
    const ids = ['spiffe://t/b', 'spiffe://t/a', 'spiffe://t/b']
    const status = planWorkloadIdentity(identity, { ids, problem: '' }, AT)
    expect(status).toMatchObject({ spiffeIds: ['spiffe://t/a', 'spiffe://t/b'], pods: 3 })
    expect(said(status.conditions, 'Ready')).toBe('True Ready')
  })
  test('says why it is not served', () => {
    const status = planWorkloadIdentity(identity, { ids: [], problem: 'spec.path: write another' }, AT)
    expect(said(status.conditions, 'Ready')).toBe('False Refused spec.path: write another')
  })
})

describe('StateRolledBack', () => {
  const parsed = parseTrustDomain({
    apiVersion: 'portcullis.dev/v1alpha1',
    kind: 'TrustDomain',
    metadata: {
      name: 'main',
      uid: 'u',
      generation: 1,
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
    },
    spec: { name: 'cluster.example' },
  })
  if (!parsed.ok) throw new Error(JSON.stringify(parsed))
  const standing = (status: 'True' | 'False', secondsAgo: number) => ({
    type: ROLLED_BACK,
    status,
    reason: 'Relearned',
    message: 'told by shop/a',
    observedGeneration: 1,
    lastTransitionTime: new Date(AT - secondsAgo * 1000).toISOString().replace('.000', ''),
  })
  const NONE = { count: 0, untilMs: 0 }
  const plan = (conditions: readonly Condition[], left = NONE) =>
    planRollback(written(parsed.value, { conditions }), left, AT)

  test('says how many revocations have no object, and when the last of them ends', () => {
    const planned = plan([standing('True', 0)], { count: 2, untilMs: AT + 60_000 })
    expect(said(planned, ROLLED_BACK)).toBe(
      'True Relearned the database was restored to an older state, and what sidecars held was taken back: 2 of the revocations in force have no object; apply yours again, or they end by 2026-01-01T00:01:00Z',
    )
    expect(planned?.[0]?.lastTransitionTime).toBe('2026-01-01T00:00:00Z')
  })
  test('is over when there is none, and not before all can have been taken back', () => {
    expect(plan([standing('True', 29)])).toBeUndefined()
    expect(said(plan([standing('True', 30)]), ROLLED_BACK)).toBe(
      'False Recovered every revocation that was taken back has an object again, or has ended',
    )
  })
  test.each([
    ['where nothing was ever rolled back', []],
    ['where it is over', [standing('False', 60)]],
  ])('says nothing %s', (_where, conditions) => {
    expect(plan(conditions)).toBeUndefined()
    expect(plan(conditions, { count: 1, untilMs: AT })).toBeUndefined()
  })
})
