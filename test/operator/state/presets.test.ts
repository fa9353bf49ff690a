// The presets of docs/presets.md: every block is what its parser takes, both forms mean the same, and it is what the page says.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parseAccessPolicy } from '../../../contracts/crd/access-policy.ts'
import type { Outcome } from '../../../contracts/crd/definition.ts'
import { parseTokenIssuer } from '../../../contracts/crd/token-issuer.ts'
import type { Issuer, Profile } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { lint } from '../../../operator/inject/lint.ts'
import { EMPTY_CLUSTER } from '../../../operator/state/cluster.ts'
import { projectAll } from '../../../operator/state/projections.ts'
import { parseConfig } from '../../../sidecar/config.ts'
import { denied } from '../../../sidecar/decision.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import { admit } from '../../../sidecar/token/admit.ts'
import { type Beliefs, parseSnapshot } from '../../../sidecar/trust/snapshot.ts'
import { caller } from '../../sidecar/trust/revocation-world.ts'
import { bundle, fold, pod, put } from './objects.ts'

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/presets.md'), 'utf8')
const NAMES = ['browser-fintech', 'service-mesh', 'fapi2'] as const
type Name = (typeof NAMES)[number]

function blockOf(name: Name, form: 'cluster' | 'standalone'): string {
  const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text)
  const found = blocks.filter((text) => text.startsWith(`# preset: ${name}, ${form}`))
  expect(found).toHaveLength(1)
  return found[0] ?? ''
}

function taken<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(outcome.problems.join('\n'))
  return outcome.value
}

function objectsOf(name: Name) {
  const documents = parseAllDocuments(blockOf(name, 'cluster')).map((one) => one.toJS())
  const issuer = taken(parseTokenIssuer(documents[0]))
  const policy = taken(parseAccessPolicy(documents[1]))
  return { documents, issuer, policy }
}

/** What sidecars of the cluster are sent. */
function projected(name: Name) {
  const { issuer, policy } = objectsOf(name)
  const { namespace } = policy.metadata
  const cluster = fold(EMPTY_CLUSTER, [
    put('tokenIssuers', `${namespace}/${issuer.metadata.name}`, issuer),
    put('accessPolicies', `${namespace}/${policy.metadata.name}`, policy),
    put('bundles', `${namespace}/${policy.spec.bundle.name}`, bundle('r1')),
    put('pods', 'u', pod(namespace, 'a', { labels: { ...policy.spec.selector.matchLabels } })),
  ])
  const snapshot = projectAll(cluster).byKey.get(`${namespace}/${policy.metadata.name}`)?.snapshot
  if (!snapshot?.profile) throw new Error(snapshot?.withheld)
  return { ...snapshot, profile: snapshot.profile }
}

function standalone(name: Name) {
  const result = parseConfig(blockOf(name, 'standalone'), {}, '/')
  if (!result.ok) throw new Error(result.problems.join('\n'))
  return result.config.trust
}

function believed(name: Name): Beliefs {
  const parsed = parseSnapshot({ ...projected(name), generation: 1 }, new Map())
  if (Array.isArray(parsed)) throw new Error(parsed.join('\n'))
  return parsed as Beliefs
}

function verdict(name: Name, action: string, who: Partial<Principal>): string {
  const { tokens, issuers } = believed(name)
  const principal = caller({ issuer: 'https://idp.example', scopes: [action], ...who })
  const outcome = admit(principal, { tokens, issuers }, action, principal.issuedAt * 1000)
  return denied(outcome) ? outcome.reason : 'allow'
}

describe.each(NAMES)('003-15: preset %s', (name) => {
  test('is accepted by the schemas and by the webhook, without a warning', () => {
    const { documents } = objectsOf(name)
    const known = {
      policies: () => [],
      keys: () => undefined,
      profile: 'default',
      now: () => 0,
      momentOf: () => undefined,
    }
    for (const object of documents)
      expect(lint(object.kind, object, undefined, known)).toEqual({ problems: [], warnings: [] })
  })

  test('means the same in a cluster and standalone', () => {
    const [cluster, alone] = [projected(name), standalone(name)]
    const plain = ({ audience, exclusiveAudience, maxTokenLifetimeS }: typeof alone | Profile) => ({
      audience,
      exclusiveAudience,
      maxTokenLifetimeS,
    })
    expect(plain(alone)).toEqual(plain(cluster.profile))
    expect(alone.tokens).toEqual(cluster.profile.tokens)
    const asked = (routes: Profile['routes']) =>
      routes.flatMap(({ actions, requirements }) => (requirements ? [{ actions, requirements }] : []))
    expect(asked([...alone.routes])).toEqual(asked(cluster.profile.routes))
    const [one] = alone.issuers
    const [other] = cluster.issuers
    const terms = ({ introspection, exchange, firstPartyClients, legacyTypUntilMs }: Issuer) => ({
      introspection,
      exchange,
      firstPartyClients,
      legacyTypUntilMs,
    })
    expect(one && other && { ...one.terms, client: undefined }).toEqual(other && terms(other))
    expect(one?.skewS).toBe(other?.skewS)
    expect(one?.tenant).toEqual(other?.tenant)
    const canonical = (names: Iterable<string>) =>
      [...names].map((algorithm) => algorithm.replace('EdDSA', 'Ed25519')).sort()
    expect(canonical(one?.algorithms ?? [])).toEqual(canonical(other?.algorithms ?? []))
  })

  test('refuses bearer tokens, and scopes of first parties from third ones', () => {
    const kind = name === 'service-mesh' ? 'machine' : 'user'
    const confirmation = name === 'service-mesh' ? 'mtls' : 'dpop'
    const read = (who: Partial<Principal>) => verdict(name, 'account:read', { kind, confirmation, ...who })
    expect(read({})).toBe('allow')
    expect(read({ confirmation: 'bearer' })).toBe('cnf_required')
    expect(read({ scopes: ['admin:users'], clientId: 'somebody' })).toBe('policy_denied')
  })
})

describe('003-15: browser-fintech', () => {
  const pay = (who: Partial<Principal>) => {
    const { issuedAt } = caller()
    const strong = { acr: 'urn:example:gold', authTime: issuedAt - 300 }
    return verdict('browser-fintech', 'payment:create', { confirmation: 'dpop', ...strong, ...who })
  }
  test('takes proofs of people, and no certificates and no machines', () => {
    expect(pay({})).toBe('allow')
    expect(pay({ confirmation: 'mtls' })).toBe('cnf_required')
    expect(pay({ kind: 'machine' })).toBe('policy_denied')
  })
  test('lets money move after a strong and fresh authentication only', () => {
    expect(pay({ acr: undefined })).toBe('step_up_required')
    expect(pay({ acr: 'urn:example:silver' })).toBe('step_up_required')
    expect(pay({ authTime: caller().issuedAt - 301 })).toBe('step_up_required')
  })
  test('asks the issuer about payments, and wants their proofs unseen by every replica', () => {
    const { tokens } = believed('browser-fintech')
    expect(tokens.requirements('payment:create')).toMatchObject({ introspect: true, sharedReplay: true })
    expect(tokens.requirements('account:read')).toMatchObject({ introspect: false, sharedReplay: false })
  })
})

describe('003-15, 000-15, 000-16: service-mesh', () => {
  test('takes certificates of machines, and no users, proofs or old tokens', () => {
    const ask = (who: Partial<Principal>) =>
      verdict('service-mesh', 'order:read', { kind: 'machine', confirmation: 'mtls', ...who })
    expect(ask({})).toBe('allow')
    expect(ask({ kind: 'user' })).toBe('policy_denied')
    expect(ask({ confirmation: 'dpop' })).toBe('cnf_required')
    const { requirements } = believed('service-mesh').tokens
    expect(requirements('order:read').maxTokenAgeS).toBe(300)
  })
  test('believes the header of the named proxy only', () => {
    expect(believed('service-mesh').tokens.edge).toMatchObject({
      certificateHeader: 'xfcc',
      trustedHops: new Set(['spiffe://cluster.example/ns/edge/sa/gateway']),
    })
  })
})

describe('003-15, Z4, Z5, Z6: fapi2', () => {
  test('takes proofs and certificates alike', () => {
    for (const confirmation of ['dpop', 'mtls'] as const)
      expect(verdict('fapi2', 'account:read', { confirmation })).toBe('allow')
  })
  test('believes none of the RSA PKCS #1 algorithms, and clocks that differ by ten seconds at most', () => {
    const [issuer] = [...believed('fapi2').issuers.values()]
    expect([...(issuer?.algorithms ?? [])].filter((one) => one.startsWith('RS'))).toEqual([])
    expect(issuer?.skewS).toBe(10)
  })
  test('is strict about revocations for every action', () => {
    const { tiers } = believed('fapi2')
    expect(tiers?.leaseMs('anything')).toBe(tiers?.strictMs)
  })
})
