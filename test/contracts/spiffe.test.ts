import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseSpiffeId, verifyX509Svid } from '../../contracts/spiffe.ts'
import { CA_EXTENSIONS, inTemporary, leafExtensions, type Made, make, openssl } from './spiffe-openssl.ts'

const TD = 'cluster.example'
const ID = `spiffe://${TD}/ns/a/sa/b`

describe('the grammar of SPIFFE IDs', () => {
  test.each([
    ['spiffe://cluster.example', ''],
    [ID, '/ns/a/sa/b'],
    ['spiffe://10.0.0.1/x', '/x'],
    ['spiffe://a_b-c.d/A.b_c-9', '/A.b_c-9'],
    [`spiffe://${'a'.repeat(255)}/x`, '/x'],
    [`spiffe://t/${'a'.repeat(2037)}`, `/${'a'.repeat(2037)}`],
    ['spiffe://t/...', '/...'],
  ])('%s is one', (text, path) => {
    expect(parseSpiffeId(text)).toMatchObject({ uri: text, path })
  })
  test.each([
    '',
    'spiffe://',
    'spiffe:///x',
    'Spiffe://t/x',
    'https://t/x',
    'spiffe:/t/x',
    'spiffe://T/x',
    'spiffe://t:1/x',
    'spiffe://u@t/x',
    'spiffe://t%2e/x',
    'spiffe://t/',
    'spiffe://t/x/',
    'spiffe://t//x',
    'spiffe://t/./x',
    'spiffe://t/../x',
    'spiffe://t/%78',
    'spiffe://t/x?q',
    'spiffe://t/x#f',
    'spiffe://t/é',
    'spiffe://t/x y',
    'spiffe://t/x\n',
    ' spiffe://t/x',
    `spiffe://${'a'.repeat(256)}/x`,
    `spiffe://t/${'a'.repeat(2038)}`,
  ])('%j is none', (text) => {
    expect(parseSpiffeId(text)).toBeUndefined()
  })
})

const root = make({
  subject: '/CN=root',
  extensions: [...CA_EXTENSIONS, `subjectAltName=URI:spiffe://${TD}`],
})
const stranger = make({ subject: '/CN=root', extensions: CA_EXTENSIONS })
const intermediateOf = (issuer: Made, ...extensions: readonly string[]) =>
  make({ subject: '/CN=between', issuer, extensions: extensions.length > 0 ? extensions : CA_EXTENSIONS })
const leafOf = (issuer: Made, ...extensions: readonly string[]) =>
  make({ issuer, extensions: extensions.length > 0 ? extensions : leafExtensions(ID) })
const between = intermediateOf(root)
const leaf = leafOf(between)

const DAY = 86_400_000
// Beyond the moment at which the last certificate of this file is made.
const now = Date.now() + DAY / 24
const trust = { trustDomain: TD, roots: [root.der] }
const answer = (chain: readonly Made[], against = trust, at = now) =>
  verifyX509Svid(
    chain.map(({ der }) => der),
    against,
    at,
  )
const why = (chain: readonly Made[], against = trust, at = now): string => {
  const given = answer(chain, against, at)
  return given.ok ? 'accepted' : given.why
}

describe('an X509-SVID', () => {
  test('is accepted through an intermediate, from the root directly, and with the root presented', () => {
    expect(answer([leaf, between])).toMatchObject({ ok: true, id: { uri: ID, trustDomain: TD } })
    expect(why([leafOf(root)])).toBe('accepted')
    expect(why([leaf, between, root])).toBe('accepted')
  })

  test('is accepted when a stranger of the same name stands before the root in the bundle', () => {
    expect(why([leaf, between], { trustDomain: TD, roots: [stranger.der, root.der] })).toBe('accepted')
  })

  test.each<readonly [string, () => readonly Made[], RegExp]>([
    ['no certificate', () => [], /chain of 0/],
    ['a missing intermediate', () => [leaf], /not issued by a root/],
    ['an intermediate in the wrong place', () => [between, leaf], /not issued by a root/],
    ['an intermediate of somebody else', () => [leaf, intermediateOf(root)], /not issued by certificate/],
    ['a root of the same name with another key', () => [leafOf(stranger)], /not issued by a root/],
    ['two URIs', () => [leafOf(root, ...twoUris())], /exactly one URI/],
    ['no URI', () => [leafOf(root, 'subjectAltName=critical,DNS:a.example', ...usage())], /exactly one URI/],
    ['no names at all', () => [leafOf(root, ...usage())], /exactly one URI/],
    ['a URI that is no SPIFFE ID', () => [leafOf(root, ...leafExtensions('https://a/b'))], /no SPIFFE ID/],
    [
      'an ID with a dot segment',
      () => [leafOf(root, ...leafExtensions(`spiffe://${TD}/a/../b`))],
      /no SPIFFE ID/,
    ],
    [
      'an ID of another trust domain',
      () => [leafOf(root, ...leafExtensions('spiffe://other/x'))],
      /another trust/,
    ],
    ['an ID without path', () => [leafOf(root, ...leafExtensions(`spiffe://${TD}`))], /no path/],
    [
      'a leaf that is a CA',
      () => [leafOf(root, ...leafExtensions(ID), 'basicConstraints=critical,CA:TRUE')],
      /is a CA/,
    ],
    [
      'a leaf that may sign certificates',
      () => [leafOf(root, ...san(), 'keyUsage=critical,digitalSignature,keyCertSign')],
      /key usage/,
    ],
    [
      'a leaf that may sign CRLs',
      () => [leafOf(root, ...san(), 'keyUsage=critical,digitalSignature,cRLSign')],
      /key usage/,
    ],
    ['a leaf without key usage', () => [leafOf(root, ...san())], /key usage/],
    [
      'a key usage that is not critical',
      () => [leafOf(root, ...san(), 'keyUsage=digitalSignature')],
      /key usage/,
    ],
    [
      'a leaf for clients only',
      () => [leafOf(root, ...san(), ...usage(), 'extendedKeyUsage=clientAuth')],
      /extended key usage/,
    ],
    [
      'empty subject, names not critical',
      () => [leafOf(root, `subjectAltName=URI:${ID}`, ...usage())],
      /empty subject/,
    ],
    [
      'a critical extension of unknown meaning',
      () => [leafOf(root, ...leafExtensions(ID), '1.2.3.4=critical,ASN1:NULL')],
      /unknown critical/,
    ],
    ['an issuer that is no CA', () => [leafOf(leaf), leaf, between], /not a CA|not issued/],
    [
      'an issuer that may not sign certificates',
      () => through('basicConstraints=critical,CA:TRUE', 'keyUsage=critical,cRLSign'),
      /key usage|not issued/,
    ],
    [
      'an issuer of another trust domain',
      () => through(...CA_EXTENSIONS, 'subjectAltName=URI:spiffe://other'),
      /identity/,
    ],
    ['an issuer that is a workload', () => through(...CA_EXTENSIONS, `subjectAltName=URI:${ID}`), /identity/],
    ['a path length exceeded', () => tooLong(), /path length/],
    ['a chain of five', () => [leaf, between, between, between, between], /chain of 5/],
    [
      'an issuer constrained to another domain',
      () => through(...CA_EXTENSIONS, 'nameConstraints=critical,permitted;URI:other.example'),
      /name constraints/,
    ],
    [
      'an issuer from which the domain is excluded',
      () => through(...CA_EXTENSIONS, `nameConstraints=critical,excluded;URI:${TD}`),
      /name constraints/,
    ],
    [
      'an issuer constrained to sub-domains',
      () => through(...CA_EXTENSIONS, `nameConstraints=critical,permitted;URI:.${TD}`),
      /name constraints/,
    ],
    ['a name of a constrained type that is not compared', () => constrainedDns(), /name constraints/],
    [
      'SHA-1',
      () => [make({ issuer: root, extensions: leafExtensions(ID), digest: 'sha1' })],
      /not issued by a root/,
    ],
    [
      'RSA of 1024 bits',
      () => [make({ issuer: root, extensions: leafExtensions(ID), key: ['RSA', 'rsa_keygen_bits:1024'] })],
      /key of the leaf/,
    ],
    [
      'a weak curve',
      () => [
        make({ issuer: root, extensions: leafExtensions(ID), key: ['EC', 'ec_paramgen_curve:secp224r1'] }),
      ],
      /key of the leaf/,
    ],
  ])('with %s is refused', (_name, chain, reason) => {
    expect(why(chain())).toMatch(reason)
  })

  test('is allowed by name constraints that name its trust domain', () => {
    expect(why(through(...CA_EXTENSIONS, `nameConstraints=critical,permitted;URI:${TD}`))).toBe('accepted')
  })

  test.each([
    ['before it is valid', now - DAY, /not valid yet/],
    ['after it has expired', now + 31 * DAY, /expired/],
  ])('is refused %s', (_name, at, reason) => {
    expect(why([leaf, between], trust, at)).toMatch(reason)
  })

  test('is refused when its issuer has expired before it', () => {
    const brief = make({ subject: '/CN=brief', issuer: root, extensions: CA_EXTENSIONS, days: 1 })
    const outliving = leafOf(brief)
    expect(why([outliving, brief])).toBe('accepted')
    expect(why([outliving, brief], trust, now + 2 * DAY)).toMatch(/expired/)
  })

  test('is refused once its root has left the bundle, and against an empty bundle', () => {
    expect(why([leaf, between], { trustDomain: TD, roots: [stranger.der] })).toMatch(/not issued by/)
    expect(why([leaf, between], { trustDomain: TD, roots: [] })).toMatch(/no usable trust bundle/)
  })

  test('with any byte changed is refused, and nothing is thrown', () => {
    const changed = fc.record({ at: fc.nat(leaf.der.length - 1), by: fc.integer({ min: 1, max: 255 }) })
    fc.assert(
      fc.property(changed, ({ at, by }) => {
        const der = Buffer.from(leaf.der)
        der[at] = (der[at] ?? 0) ^ by
        expect(verifyX509Svid([der, between.der], trust, now).ok).toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  test('openssl agrees with the good and with each refusal that it knows of', () => {
    const verify = (chain: readonly Made[]): boolean =>
      inTemporary((directory) => {
        const [first, ...rest] = chain.map(({ pem }) => pem)
        writeFileSync(join(directory, 'root'), root.pem)
        writeFileSync(join(directory, 'leaf'), first ?? '')
        writeFileSync(join(directory, 'rest'), rest.join('\n') || root.pem)
        const files = ['-CAfile', join(directory, 'root'), '-untrusted', join(directory, 'rest')]
        try {
          return openssl('verify', ...files, '-purpose', 'sslclient', join(directory, 'leaf')).includes('OK')
        } catch {
          return false
        }
      })
    expect(verify([leaf, between])).toBe(true)
    for (const bad of [
      tooLong(),
      through(...CA_EXTENSIONS, 'nameConstraints=critical,permitted;URI:other.example'),
      [leafOf(stranger)],
    ])
      expect(verify(bad), why(bad)).toBe(false)
  })
})

const san = () => [`subjectAltName=critical,URI:${ID}`]
const usage = () => ['keyUsage=critical,digitalSignature']
const twoUris = () => [`subjectAltName=critical,URI:${ID},URI:spiffe://${TD}/x`, ...usage()]
function through(...extensions: readonly string[]): readonly Made[] {
  const issuer = intermediateOf(root, ...extensions)
  return [leafOf(issuer), issuer]
}
function tooLong(): readonly Made[] {
  const first = intermediateOf(
    root,
    'basicConstraints=critical,CA:TRUE,pathlen:0',
    'keyUsage=critical,keyCertSign',
  )
  const second = make({ subject: '/CN=second', issuer: first, extensions: CA_EXTENSIONS })
  return [leafOf(second), second, first]
}
function constrainedDns(): readonly Made[] {
  const issuer = intermediateOf(root, ...CA_EXTENSIONS, 'nameConstraints=critical,permitted;DNS:a.example')
  return [leafOf(issuer, `subjectAltName=critical,URI:${ID},DNS:a.example`, ...usage()), issuer]
}
