import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import {
  type Answer,
  type Ground,
  isPolicy,
  messageOf,
  OURS,
  openGround,
  until,
} from '../operator/inject/ground.ts'
import { IMAGE } from '../operator/inject/pods.ts'

// Loosening needs the verb relax, tightening does not: two users who may edit everything, one of whom has the verb.

const EDIT = [
  { apiGroups: ['portcullis.dev'], resources: ['*'], verbs: ['get', 'create', 'update', 'patch', 'delete'] },
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'create', 'update', 'patch'] },
]
const RELAX = [
  { apiGroups: ['portcullis.dev'], resources: ['*'], verbs: ['relax'] },
  { apiGroups: [''], resources: ['namespaces'], verbs: ['relax'] },
]
const INJECT = 'portcullis.dev/inject'
const SHOP = `${OURS}/namespaces/shop`

interface Row {
  readonly name: string
  /** Where the object is created, and what as. */
  readonly at: string
  readonly before?: object
  /** A merge patch of it, the object itself where there was none before, or its deletion. */
  readonly change: object | 'delete'
  /** What a refusal says; absent: everyone may. */
  readonly said?: RegExp
}

const policy = (routes: readonly object[], more: object = {}) => ({
  kind: 'AccessPolicy',
  spec: { audience: 'shop', issuers: [{ name: 'idp' }], bundle: { name: 'rules' }, routes, ...more },
})
const READ = { actions: ['read.*'], staleness: 'ReadDegraded' }
const STRICT = { actions: ['read.secret'], staleness: 'Strict' }
const entry = (value: string, more: object = {}) => ({ type: 'Sid', value, ...more })
const revocation = (entries: readonly object[], expiresAt = '2100-01-01T00:00:00Z') => ({
  kind: 'Revocation',
  spec: { issuerRef: { name: 'idp' }, entries, expiresAt },
})
const rotation = (more: object = {}) => ({
  kind: 'KeyRotation',
  spec: { trustDomain: 'main', use: 'JWTSVID', ...more },
})
const OVERRIDE = { override: { skipAcknowledgement: 'Allowed', justification: 'the node is gone' } }
const issuer = (revokedKids: readonly string[]) => ({
  kind: 'TokenIssuer',
  spec: {
    issuer: 'https://idp.example',
    jwks: { uri: 'https://idp.example/keys' },
    algorithms: ['ES256'],
    tenant: { type: 'Fixed', fixed: 'acme' },
    revokedKids,
  },
})
const sidecarProfile = (leases: object) => ({ kind: 'SidecarProfile', spec: { image: IMAGE, leases } })
const required = { metadata: { labels: { [INJECT]: 'required' } } }

const ROWS: readonly Row[] = [
  {
    name: 'a policy with a degraded route',
    at: `${SHOP}/accesspolicies`,
    change: policy([READ]),
    said: /spec\.routes: staleness ReadDegraded/,
  },
  { name: 'a policy without one', at: `${SHOP}/accesspolicies`, change: policy([STRICT]) },
  {
    name: 'a route that becomes degraded',
    at: `${SHOP}/accesspolicies`,
    before: policy([STRICT]),
    change: policy([{ ...STRICT, staleness: 'ReadDegraded' }]),
    said: /staleness ReadDegraded/,
  },
  {
    name: 'an action more on a degraded route',
    at: `${SHOP}/accesspolicies`,
    before: policy([READ]),
    change: policy([{ ...READ, actions: ['read.*', 'write'] }]),
    said: /staleness ReadDegraded/,
  },
  {
    name: 'a degraded route that stays',
    at: `${SHOP}/accesspolicies`,
    before: policy([READ]),
    change: policy([READ], { audience: 'other' }),
  },
  {
    name: 'a degraded route that goes',
    at: `${SHOP}/accesspolicies`,
    before: policy([READ, STRICT]),
    change: policy([STRICT]),
  },
  {
    name: 'a strict action that falls to a degraded prefix',
    at: `${SHOP}/accesspolicies`,
    before: policy([READ, STRICT]),
    change: policy([READ]),
    said: /was taken out of a route/,
  },
  {
    name: 'other pods under a degraded route',
    at: `${SHOP}/accesspolicies`,
    before: policy([READ], { selector: { matchLabels: { app: 'a' } } }),
    change: policy([READ], { selector: { matchLabels: { app: null } } }),
    said: /spec\.selector/,
  },
  { name: 'deleting a policy', at: `${SHOP}/accesspolicies`, before: policy([READ]), change: 'delete' },
  {
    name: 'deleting a revocation',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: 'delete',
    said: /deleting it before spec\.expiresAt/,
  },
  { name: 'a revocation', at: `${SHOP}/revocations`, change: revocation([entry('a')]) },
  {
    name: 'an entry less',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a'), entry('b')]),
    change: revocation([entry('b')]),
    said: /spec\.entries: an entry was taken out/,
  },
  {
    name: 'an entry changed',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: revocation([entry('b')]),
    said: /spec\.entries/,
  },
  {
    name: 'an entry narrowed',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: revocation([entry('a', { issuedBefore: '2026-01-01T00:00:00Z' })]),
    said: /narrowed/,
  },
  {
    name: 'an entry widened',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a', { issuedBefore: '2026-01-01T00:00:00Z' })]),
    change: revocation([entry('a', { issuedBefore: '2026-02-01T00:00:00Z' })]),
  },
  {
    name: 'an entry more',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: revocation([entry('b'), entry('a')]),
  },
  {
    name: 'an earlier end',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: revocation([entry('a')], '2099-01-01T00:00:00Z'),
    said: /spec\.expiresAt: an earlier moment/,
  },
  {
    name: 'a later end',
    at: `${SHOP}/revocations`,
    before: revocation([entry('a')]),
    change: revocation([entry('a')], '2101-01-01T00:00:00Z'),
  },
  { name: 'a rotation', at: `${OURS}/keyrotations`, change: rotation() },
  {
    name: 'a rotation that waits for nobody',
    at: `${OURS}/keyrotations`,
    change: rotation(OVERRIDE),
    said: /spec\.override/,
  },
  {
    name: 'a rotation that no longer waits',
    at: `${OURS}/keyrotations`,
    before: rotation(),
    change: rotation(OVERRIDE),
    said: /spec\.override/,
  },
  {
    name: 'a label on a rotation that waits for nobody',
    at: `${OURS}/keyrotations`,
    before: rotation(OVERRIDE),
    change: { metadata: { labels: { a: 'b' } } },
  },
  {
    name: 'a revoked key believed again',
    at: `${SHOP}/tokenissuers`,
    before: issuer(['a', 'b']),
    change: issuer(['b']),
    said: /spec\.revokedKids/,
  },
  { name: 'a key revoked', at: `${SHOP}/tokenissuers`, before: issuer(['a']), change: issuer(['a', 'b']) },
  {
    name: 'a longer lease',
    at: `${OURS}/sidecarprofiles`,
    before: sidecarProfile({ strict: '5s' }),
    change: sidecarProfile({ strict: '6s' }),
    said: /spec\.leases/,
  },
  {
    name: 'a shorter lease',
    at: `${OURS}/sidecarprofiles`,
    before: sidecarProfile({ standard: '60s' }),
    change: sidecarProfile({ standard: '30s' }),
  },
  {
    name: 'a namespace that requires no more',
    at: '/api/v1/namespaces',
    before: required,
    change: { metadata: { labels: { [INJECT]: 'enabled' } } },
    said: /taking "required" away/,
  },
  {
    name: 'a namespace whose label is gone',
    at: '/api/v1/namespaces',
    before: required,
    change: { metadata: { labels: { [INJECT]: null } } },
    said: /taking "required" away/,
  },
  {
    name: 'a namespace that starts to require',
    at: '/api/v1/namespaces',
    before: { metadata: {} },
    change: required,
  },
]

describe.skipIf(notRun('cluster', 'test/cluster/inject-relax.test.ts', apiUnavailable()))('loosening', () => {
  let ground: Ground
  let made = 0

  beforeAll(async () => {
    ground = await openGround(isPolicy)
    await ground.namespace('shop')
    await ground.allow('editor', EDIT)
    await ground.allow('relaxer', [...EDIT, ...RELAX])
    const degraded = { metadata: { name: 'probe' }, apiVersion: API_VERSION, ...policy([READ]) }
    const path = `${SHOP}/accesspolicies?dryRun=All`
    const as = (user: string) => ground.ask('POST', path, degraded, { 'impersonate-user': user })
    await until('policies', async () => /staleness/.test(messageOf(await as('editor'))))
    await until('the verb', async () => (await as('relaxer')).status === 201)
  })
  afterAll(() => ground?.[Symbol.asyncDispose]())

  test.each(ROWS)('$name', async (row) => {
    const refused = await changed(row, 'editor')
    if (row.said) {
      expect(messageOf(refused)).toMatch(row.said)
      expect(messageOf(refused)).toMatch(/have someone with the verb "relax" on/)
      expect(refused.status).toBe(403)
    } else expect(messageOf(refused)).toBe('')
    expect(messageOf(await changed(row, 'relaxer'))).toBe('')
  })

  test('an expired revocation can be deleted by anyone who may delete it', async () => {
    const [answer, path] = await create(`${SHOP}/revocations`, revocation([entry('a')]))
    const expired = {
      type: 'Expired',
      status: 'True',
      reason: 'Expired',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
      observedGeneration: answer.body.metadata.generation,
    }
    await ground.ask('PATCH', `${path}/status`, { status: { conditions: [expired] } })
    expect((await ground.ask('DELETE', path, undefined, { 'impersonate-user': 'editor' })).status).toBe(200)
  })

  test('the namespace of a revocation can end', async () => {
    const user = 'system:serviceaccount:kube-system:namespace-controller'
    await ground.ask('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'ending' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'editor' },
      subjects: [{ kind: 'ServiceAccount', namespace: 'kube-system', name: 'namespace-controller' }],
    })
    const [, path] = await create(`${SHOP}/revocations`, revocation([entry('a')]))
    await until('the role', async () => {
      const { status } = await ground.ask('DELETE', path, undefined, { 'impersonate-user': user })
      return status === 200
    })
  })

  async function changed({ at, before, change }: Row, user: string): Promise<Answer> {
    const as = { 'impersonate-user': user }
    if (!before) return (await create(at, change as object, as))[0]
    const [stored, path] = await create(at, before)
    if (stored.status !== 201) throw new Error(messageOf(stored))
    return change === 'delete'
      ? ground.ask('DELETE', path, undefined, as)
      : ground.ask('PATCH', path, change, as)
  }

  async function create(at: string, object: object, headers = {}): Promise<readonly [Answer, string]> {
    made += 1
    const name = `o${made}`
    const { metadata } = object as { readonly metadata?: object }
    const whole = {
      apiVersion: at.startsWith(OURS) ? API_VERSION : 'v1',
      ...object,
      metadata: { ...metadata, name },
    }
    return [await ground.ask('POST', at, whole, headers), `${at}/${name}`]
  }
})

const API_VERSION = 'portcullis.dev/v1alpha1'
