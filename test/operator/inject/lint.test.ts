import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { parseAccessPolicy } from '../../../contracts/crd/access-policy.ts'
import { parseTime } from '../../../contracts/time.ts'
import { type Known, lint } from '../../../operator/inject/lint.ts'
import { IMAGE } from './pods.ts'

const NOW = Date.parse('2026-11-25T12:00:00Z')

function object(kind: string, spec: object, name = 'it') {
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind,
    metadata: { name, namespace: 'shop' },
    spec,
  }
}

const policy = (audience: string, name: string) =>
  object('AccessPolicy', { audience, issuers: [{ name: 'idp' }], bundle: { name: 'rules' } }, name)

function known(policies: readonly object[] = []): Known {
  const parsed = policies.map((one) => {
    const outcome = parseAccessPolicy(one)
    if (!outcome.ok) throw new Error(outcome.problems.join())
    return outcome.value
  })
  return {
    policies: () => parsed,
    keys: (domain, use) => (domain !== 'main' ? undefined : use === 'JWTSVID' ? ['k1', 'k2'] : []),
    profile: 'default',
    now: () => NOW,
    momentOf: parseTime,
  }
}

const publicJwk = {
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }),
  kid: 'a',
}
const privateJwk = {
  ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }),
  kid: 'b',
}

const issuer = (jwks: object) =>
  object('TokenIssuer', {
    issuer: 'https://idp.example',
    jwks,
    algorithms: ['ES256'],
    tenant: { type: 'Fixed', fixed: 'acme' },
  })
const legacy = (until: string) => {
  const one = issuer({ uri: 'https://idp.example/k' })
  return { ...one, spec: { ...one.spec, legacyTyp: { until } } }
}
const inline = (...keys: readonly object[]) => issuer({ inline: JSON.stringify({ keys }) })
const revocation = (expiresAt: string, more: object = {}) =>
  object('Revocation', {
    issuerRef: { name: 'idp' },
    entries: [{ type: 'Sid', value: 's', ...more }],
    expiresAt,
  })
const rotation = (spec: object) => object('KeyRotation', { trustDomain: 'main', use: 'JWTSVID', ...spec })
const revoke = (keyId: string, use = 'JWTSVID') =>
  rotation({ use, action: 'Revoke', keyId, reason: 'leaked' })
const identity = (path: string) => object('WorkloadIdentity', { path })

test.each<[string, string, object, RegExp]>([
  ['a policy without audience', 'AccessPolicy', policy(undefined as never, 'x'), /spec\.audience/],
  [
    'a JWKS TTL of 6 hours',
    'TokenIssuer',
    issuer({ uri: 'https://idp.example/k', maxStale: '6h' }),
    /spec\.jwks\.maxStale.*1h/,
  ],
  [
    'a skew of minutes',
    'TokenIssuer',
    {
      ...issuer({ uri: 'https://i.example/k' }),
      spec: { ...issuer({ uri: 'https://i.example/k' }).spec, clockSkew: '5m' },
    },
    /spec\.clockSkew/,
  ],
  [
    'a private key in public',
    'TokenIssuer',
    inline(publicJwk, privateJwk),
    /spec\.jwks\.inline: publishes a private key/,
  ],
  [
    'no usable key',
    'TokenIssuer',
    inline({ ...publicJwk, kid: '' }),
    /spec\.jwks\.inline: the key "" cannot be used: no usable "kid"/,
  ],
  [
    'legacy types for longer than 400 days',
    'TokenIssuer',
    legacy('2027-12-30T12:00:01Z'),
    /spec\.legacyTyp\.until: must be at most 400 days ahead/,
  ],
  ['no key at all', 'TokenIssuer', inline(), /give at least one public key/],
  [
    'a revocation that is over',
    'Revocation',
    revocation('2026-11-25T11:59:59Z'),
    /spec\.expiresAt: has passed already.*later moment/,
  ],
  ['a revocation for ever', 'Revocation', revocation('2028-01-01T00:00:00Z'), /more than 400 days ahead/],
  [
    'a rotation of an unknown domain',
    'KeyRotation',
    rotation({ trustDomain: 'other' }),
    /spec\.trustDomain: there is no TrustDomain "other"; name one/,
  ],
  ['the end of an unknown key', 'KeyRotation', revoke('k9'), /no key "k9"; its keys for JWTSVID are k1, k2/],
  ['the end of a key of another use', 'KeyRotation', revoke('k1', 'X509CA'), /no key "k1"; it has none yet/],
  [
    'an identity of another namespace',
    'WorkloadIdentity',
    identity('/ns/other/sa/x'),
    /spec\.path: must begin with \/ns\/ and the namespace/,
  ],
  [
    'an image by tag',
    'SidecarProfile',
    object('SidecarProfile', { image: 'a:1' }, 'default'),
    /spec\.image: .*by digest/,
  ],
])('refuses %s', (_name, kind, value, said) => {
  expect(lint(kind, value, undefined, known()).problems.join('\n')).toMatch(said)
})

test.each<[string, string, object]>([
  ['a policy of its own audience', 'AccessPolicy', policy('mine', 'x')],
  ['public keys', 'TokenIssuer', inline(publicJwk)],
  ['legacy types for 400 days', 'TokenIssuer', legacy('2027-12-30T12:00:00Z')],
  ['legacy types that are over', 'TokenIssuer', legacy('2020-01-01T00:00:00Z')],
  ['a revocation of 400 days', 'Revocation', revocation('2027-12-30T12:00:00Z')],
  ['a rotation', 'KeyRotation', rotation({})],
  ['the end of a key', 'KeyRotation', revoke('k2')],
  ['an identity of this namespace', 'WorkloadIdentity', identity('/ns/{namespace}/sa/x')],
  ['the profile', 'SidecarProfile', object('SidecarProfile', { image: IMAGE }, 'default')],
  ['a kind of others', 'Elephant', {}],
])('has nothing to say to %s', (_name, kind, value) => {
  expect(lint(kind, value, undefined, known([policy('other', 'y')]))).toEqual({ problems: [], warnings: [] })
})

test.each<[string, string, object, RegExp]>([
  [
    'an audience of two',
    'AccessPolicy',
    policy('same', 'x'),
    /spec\.audience: also that of AccessPolicy shop\/y: .*audience of its own/,
  ],
  [
    'one bad key among good ones',
    'TokenIssuer',
    inline(publicJwk, { ...publicJwk, kid: '' }),
    /the key "" cannot be used/,
  ],
  [
    'tokens not yet issued',
    'Revocation',
    revocation('2027-01-01T00:00:00Z', { issuedBefore: '2026-12-01T00:00:00Z' }),
    /spec\.entries\[0\]\.issuedBefore: more than a day ahead/,
  ],
  [
    'a profile that nobody uses',
    'SidecarProfile',
    object('SidecarProfile', { image: IMAGE }, 'spare'),
    /only the SidecarProfile "default" is injected/,
  ],
  [
    'too little memory',
    'SidecarProfile',
    object(
      'SidecarProfile',
      { image: IMAGE, resources: { memoryRequest: '32Mi', memoryLimit: '64Mi' } },
      'default',
    ),
    /memoryLimit: less than 96Mi/,
  ],
])('warns of %s, and lets it through', (_name, kind, value, said) => {
  const { problems, warnings } = lint(kind, value, undefined, known([policy('same', 'y')]))
  expect(problems).toEqual([])
  expect(warnings.join('\n')).toMatch(said)
})

test('a policy does not share its audience with itself', () => {
  expect(
    lint('AccessPolicy', policy('same', 'y'), policy('same', 'y'), known([policy('same', 'y')])).warnings,
  ).toEqual([])
})

test('an object that has expired since can still be changed elsewhere', () => {
  const over = revocation('2026-11-25T11:59:59Z')
  expect(lint('Revocation', over, over, known()).problems).toEqual([])
})

test('an issuer that may use legacy types for longer already can be changed otherwise', () => {
  const stored = legacy('2030-01-01T00:00:00Z')
  expect(lint('TokenIssuer', stored, stored, known()).problems).toEqual([])
  expect(lint('TokenIssuer', legacy('2030-01-02T00:00:00Z'), stored, known()).problems).toHaveLength(1)
})
