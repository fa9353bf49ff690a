import { expect, test } from 'vitest'
import { parseAccessPolicy } from '../../../contracts/crd/access-policy.ts'
import type { Outcome } from '../../../contracts/crd/definition.ts'
import { parsePolicyBundle } from '../../../contracts/crd/policy-bundle.ts'
import { parseRevocation } from '../../../contracts/crd/revocation.ts'
import { parseTokenIssuer } from '../../../contracts/crd/token-issuer.ts'
import { planAccessPolicy } from '../../../operator/reconcile/access-policy.ts'
import type { Rollout } from '../../../operator/reconcile/judgement.ts'
import { type Attempt, planPolicyBundle } from '../../../operator/reconcile/policy-bundle.ts'
import { planRevocation } from '../../../operator/reconcile/revocation.ts'
import { type KeysSeen, keyNews, planTokenIssuer } from '../../../operator/reconcile/token-issuer.ts'

// What status says. Every status is read back by the parser of its kind: what a schema refuses would never be written.

const AT = Date.UTC(2030, 0, 1)
const metadata = {
  name: 'one',
  namespace: 'shop',
  uid: 'u1',
  resourceVersion: '1',
  generation: 3,
  creationTimestamp: '2029-12-31T23:59:50Z',
}
const object = (kind: string, spec: object, status?: object) => ({
  apiVersion: 'portcullis.dev/v1alpha1',
  kind,
  metadata,
  spec,
  ...(status ? { status } : {}),
})
function good<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(outcome.problems.join('; '))
  return outcome.value
}

const DONE: Rollout = { acknowledged: 3, total: 3, text: '3/3 at sha256:abc', refused: [], silent: [] }
const PENDING: Rollout = {
  acknowledged: 1,
  total: 3,
  text: '1/3 at sha256:abc',
  refused: [],
  silent: ['shop/b', 'shop/c'],
}
const REFUSED: Rollout = { ...PENDING, refused: ['shop/b: policy: self-test "x" fails'], silent: ['shop/c'] }

const conditions = (status: {
  readonly conditions?:
    | readonly { readonly type: string; readonly status: string; readonly message: string }[]
    | undefined
}) =>
  Object.fromEntries(
    (status.conditions ?? []).map(({ type, status: now, message }) => [type, `${now}: ${message}`]),
  )

const BUNDLE = { source: { type: 'Inline', inline: { modules: [{ path: 'a.rego', rego: 'package app' }] } } }
const bundle = good(parsePolicyBundle(object('PolicyBundle', BUNDLE)))
const IN_FORCE = { revision: `sha256:${'1'.repeat(64)}`, wasm: { sha256: '2'.repeat(64), bytes: 10 } }

test.each<
  readonly [what: string, attempt: Attempt | undefined, inForce: typeof IN_FORCE | undefined, ready: RegExp]
>([
  ['nothing yet', undefined, undefined, /^Unknown: not looked at yet/],
  [
    'an unreadable source',
    {
      sourceDigest: '',
      outcome: { kind: 'unreadable', message: 'ConfigMap shop/x: there is none; create it' },
    },
    undefined,
    /^False: spec\.source: ConfigMap shop\/x: there is none; create it.*everything is denied/,
  ],
  [
    'a source that does not compile',
    {
      sourceDigest: 'sha256:a',
      outcome: {
        kind: 'refused',
        stage: 'compile',
        problems: [{ file: 'a.rego', line: 4, message: 'unexpected token' }],
      },
    },
    IN_FORCE,
    /^False: a\.rego:4: unexpected token; revision sha256:1+ stays in force/,
  ],
  [
    'a failing test',
    {
      sourceDigest: 'sha256:a',
      outcome: {
        kind: 'refused',
        stage: 'test',
        problems: [{ file: 't.rego', line: 2, message: 'test x fails' }],
      },
    },
    IN_FORCE,
    /^False: t\.rego:2: test x fails/,
  ],
  [
    'no signature',
    { sourceDigest: 'sha256:a', outcome: { kind: 'unsigned', message: 'the issuer did not sign' } },
    undefined,
    /^False: the issuer did not sign/,
  ],
  [
    'a signed bundle',
    { sourceDigest: 'sha256:a', outcome: { kind: 'signed', tests: 4, keyId: 'k' } },
    IN_FORCE,
    /^True: $/,
  ],
])('PolicyBundle with %s', (_what, attempt, inForce, ready) => {
  const status = planPolicyBundle(bundle, { attempt, inForce }, DONE, AT)
  expect(good(parsePolicyBundle(object('PolicyBundle', BUNDLE, status))).status).toEqual(status)
  expect(conditions(status)['Ready']).toMatch(ready)
})

const POLICY = { audience: 'a', issuers: [{ name: 'idp' }], bundle: { name: 'one' } }
const policy = good(parseAccessPolicy(object('AccessPolicy', POLICY)))

test.each<
  readonly [
    what: string,
    problems: readonly string[],
    conflictsWith: readonly string[],
    rollout: Rollout,
    ready: RegExp,
  ]
>([
  ['all well', [], [], DONE, /^True: $/],
  ['sidecars to come', [], [], PENDING, /^False: 1\/3 .*not yet: shop\/b, shop\/c/],
  ['a refusal', [], [], REFUSED, /^False: 1\/3 .*refused by shop\/b: policy: self-test "x" fails/],
  [
    'an issuer that is not there',
    ['spec.issuers[0]: there is no TokenIssuer idp'],
    [],
    DONE,
    /^False: spec\.issuers\[0\].*everything is denied/,
  ],
  [
    'a contradiction',
    [],
    ['other'],
    DONE,
    /^False: other selects some of the same pods.*change the selector/,
  ],
])('AccessPolicy with %s', (...[, problems, conflictsWith, rollout, ready]) => {
  const status = planAccessPolicy(policy, { problems, conflictsWith, pods: 3 }, rollout, AT)
  expect(good(parseAccessPolicy(object('AccessPolicy', POLICY, status))).status).toEqual(status)
  expect(conditions(status)['Ready']).toMatch(ready)
  expect(conditions(status)['Conflict']).toMatch(conflictsWith.length > 0 ? /^True/ : /^False/)
})

test('nothing new gives the very same status, so that nothing is written', () => {
  const first = planAccessPolicy(policy, { problems: [], conflictsWith: [], pods: 3 }, DONE, AT)
  const again = good(parseAccessPolicy(object('AccessPolicy', POLICY, first)))
  expect(planAccessPolicy(again, { problems: [], conflictsWith: [], pods: 3 }, DONE, AT + 60_000)).toEqual(
    first,
  )
})

const REVOCATION = {
  issuerRef: { name: 'idp' },
  entries: [{ type: 'Subject', value: 'alice' }],
  expiresAt: '2030-01-02T00:00:00Z',
}
const revocation = good(parseRevocation(object('Revocation', REVOCATION)))

test.each<
  readonly [
    what: string,
    logged: { readonly problem: string; readonly inForce: boolean },
    rollout: Rollout,
    at: number,
    programmed: RegExp,
    expired: RegExp,
  ]
>([
  [
    'not logged yet',
    { problem: '', inForce: false },
    DONE,
    AT,
    /^False: not in the revocation log yet/,
    /^False/,
  ],
  [
    'a full log',
    { problem: 'log is full: remove others', inForce: false },
    DONE,
    AT,
    /^False: log is full/,
    /^False/,
  ],
  ['some sidecars', { problem: '', inForce: true }, PENDING, AT, /^False: 1\/3/, /^False/],
  ['every sidecar', { problem: '', inForce: true }, DONE, AT, /^True: 3\/3/, /^False/],
  [
    'its time over',
    { problem: '', inForce: false },
    DONE,
    AT + 2 * 86_400_000,
    /^True/,
    /^True: it no longer denies/,
  ],
])('Revocation with %s', (...[, logged, rollout, at, programmed, expired]) => {
  const status = planRevocation(revocation, logged, rollout, at)
  expect(good(parseRevocation(object('Revocation', REVOCATION, status))).status).toEqual(status)
  expect(conditions(status)['Programmed']).toMatch(programmed)
  expect(conditions(status)['Expired']).toMatch(expired)
})

test('a Revocation remembers when all had it first, and how long that took', () => {
  const status = planRevocation(revocation, { problem: '', inForce: true }, DONE, AT)
  expect(status).toMatchObject({ enforcedAt: '2030-01-01T00:00:00Z', seconds: 10 })
  const later = good(parseRevocation(object('Revocation', REVOCATION, status)))
  expect(planRevocation(later, { problem: '', inForce: true }, PENDING, AT + 99_000)).toMatchObject({
    enforcedAt: '2030-01-01T00:00:00Z',
    seconds: 10,
  })
})

const ISSUER = {
  issuer: 'https://id.example',
  jwks: { discovery: {} },
  algorithms: ['ES256'],
  tenant: { type: 'Fixed', fixed: 'acme' },
  revokedKids: ['k1'],
}
const issuer = good(parseTokenIssuer(object('TokenIssuer', ISSUER)))
const KEYS: KeysSeen = {
  sha256: 'a'.repeat(64),
  etag: '',
  fetchedAtMs: AT - 1000,
  notAfterMs: AT + 900_000,
  kids: [
    { kid: 'k1', algorithm: 'ES256' },
    { kid: 'k2', algorithm: 'ES256' },
  ],
  problem: '',
  refreshedNow: '',
}

test.each<readonly [what: string, keys: KeysSeen | undefined, fresh: RegExp]>([
  ['nothing fetched', undefined, /^False: spec\.jwks: not fetched yet/],
  ['fresh keys', KEYS, /^True: $/],
  [
    'a failure inside maxStale',
    { ...KEYS, problem: 'answered with status 500' },
    /^True: .*used until 2030-01-01T00:15:00Z; answered with status 500/,
  ],
  [
    'keys gone stale',
    { ...KEYS, notAfterMs: AT, problem: 'no answer' },
    /^False: .*not confirmed since.*denied; no answer/,
  ],
  [
    'keys taken away',
    { ...KEYS, kids: [], problem: 'refused: private key' },
    /^False: .*no usable keys; refused: private key/,
  ],
])('TokenIssuer with %s', (_what, keys, fresh) => {
  const status = planTokenIssuer(issuer, keys, DONE, AT)
  expect(good(parseTokenIssuer(object('TokenIssuer', ISSUER, status))).status).toEqual(status)
  expect(conditions(status)['JwksFresh']).toMatch(fresh)
})

test('a key keeps when it was first seen, and stays in the list after it has left', () => {
  const first = planTokenIssuer(issuer, KEYS, DONE, AT)
  expect(first.jwks?.kids?.map(({ kid, revoked }) => [kid, revoked])).toEqual([
    ['k1', true],
    ['k2', false],
  ])
  const seen = good(parseTokenIssuer(object('TokenIssuer', ISSUER, first)))
  const later = planTokenIssuer(
    seen,
    { ...KEYS, fetchedAtMs: AT + 3_600_000, kids: [{ kid: 'k3', algorithm: 'ES256' }] },
    DONE,
    AT,
  )
  const times = Object.fromEntries(
    (later.jwks?.kids ?? []).map(({ kid, firstSeen, lastSeen }) => [kid, [firstSeen, lastSeen]]),
  )
  expect(times['k2']).toEqual(['2029-12-31T23:59:59Z', '2029-12-31T23:59:59Z'])
  expect(times['k3']).toEqual(['2030-01-01T01:00:00Z', '2030-01-01T01:00:00Z'])
  expect(keyNews(['k1', 'k2'], ['k3'])).toEqual([
    'key k3 is published',
    'key k1 is no longer published',
    'key k2 is no longer published',
  ])
})

test('a poll that brings nothing new moves no time in status for a minute', () => {
  const first = planTokenIssuer(issuer, KEYS, DONE, AT)
  const seen = good(parseTokenIssuer(object('TokenIssuer', ISSUER, first)))
  expect(planTokenIssuer(seen, { ...KEYS, fetchedAtMs: AT + 15_000 }, DONE, AT + 15_000)).toEqual(first)
})
