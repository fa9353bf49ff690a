import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { beforeAll, describe, expect, test } from 'vitest'
import { verifyX509Svid } from '../../../contracts/spiffe.ts'
import { createAuthority } from '../../../operator/identity/authority.ts'
import { pemOf } from '../../../operator/mesh/identity.ts'
import { inTemporary, openssl } from '../../contracts/spiffe-openssl.ts'
import { type Domain, HOUR, openDomain, TD } from './domain.ts'

const PATH = '/ns/a/sa/b'
let domain: Domain
beforeAll(async () => {
  domain = await openDomain()
})

function inFiles<T>(chain: readonly Uint8Array[], use: (leaf: string, rest: string, roots: string) => T): T {
  return inTemporary((directory) => {
    const write = (name: string, ders: readonly Uint8Array[]) => {
      writeFileSync(join(directory, name), ders.map(pemOf).join(''))
      return join(directory, name)
    }
    const [leaf = Buffer.alloc(0), ...rest] = chain
    return use(write('leaf', [leaf]), write('rest', rest), write('roots', domain.trust().roots))
  })
}

describe('an issued X509-SVID', () => {
  test.each(['sslclient', 'sslserver'])('passes openssl verify -x509_strict for %s', (purpose) => {
    const { chain } = domain.svid(PATH)
    const verdict = inFiles(chain, (leaf, rest, roots) =>
      openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', roots, '-untrusted', rest, leaf),
    )
    expect(verdict).toMatch(/: OK$/m)
  })

  test('says exactly what it should, read by openssl', () => {
    const { chain } = domain.svid(PATH)
    const text = inFiles(chain, (leaf) => openssl('x509', '-in', leaf, '-noout', '-text'))
    expect(text).toMatch(/Subject:\s*\n/)
    expect(text).toMatch(/Alternative Name: critical\s+URI:spiffe:\/\/cluster.example\/ns\/a\/sa\/b\s*\n/)
    expect(text).toMatch(/Key Usage: critical\s+Digital Signature\s*\n/)
    expect(text).toMatch(/Extended Key Usage:\s+TLS Web Server Authentication, TLS Web Client Authentication/)
    expect(text).not.toMatch(/CA:TRUE|Serial Number: [0-9]{1,12} /)
  })

  test('comes with an intermediate that is held to the trust domain', () => {
    const { chain } = domain.svid(PATH)
    const text = inFiles(chain, (_leaf, rest) => openssl('x509', '-in', rest, '-noout', '-text'))
    expect(text).toMatch(/CA:TRUE, pathlen:0/)
    expect(text).toMatch(/Name Constraints: critical\s+Permitted:\s+URI:cluster.example/)
    expect(text).toMatch(/URI:spiffe:\/\/cluster.example\s*\n/)
    const ca = new X509Certificate(chain[1] ?? '')
    expect(ca.validToDate.getTime() - domain.now).toBeLessThanOrEqual(24 * HOUR)
  })

  test('has a random positive serial of sixteen bytes', () => {
    const serials = Array.from(
      { length: 20 },
      () => new X509Certificate(domain.svid(PATH).chain[0] ?? '').serialNumber,
    )
    expect(new Set(serials).size).toBe(20)
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{31}$/)
  })

  test('never outlives what it was asked for, its key, its intermediate', () => {
    expect(domain.svid(PATH, 600_000).notAfterMs - domain.now).toBeLessThanOrEqual(600_000)
    expect(domain.svid(PATH, 900 * HOUR).notAfterMs - domain.now).toBeLessThanOrEqual(HOUR)
    const before = domain.now
    domain.now += 11.9 * HOUR
    const late = domain.svid(PATH)
    const issuer = new X509Certificate(late.chain[1] ?? '')
    expect(late.notAfterMs).toBeLessThanOrEqual(issuer.validToDate.getTime())
    domain.now = before
  })

  test('comes from a new intermediate after half of the life of the first, and when the clock was set back', () => {
    const first = domain.svid(PATH).chain[1]
    const before = domain.now
    domain.now += 12.1 * HOUR
    const second = domain.svid(PATH).chain[1]
    expect(second).not.toEqual(first)
    domain.now = before
    const third = domain.svid(PATH).chain[1]
    expect(third).not.toEqual(second)
    expect(domain.svid(PATH).chain[1]).toEqual(third)
  })

  test('of a path that breaks the grammar is not signed', () => {
    expect(() => domain.svid('/ns/../sa/b')).toThrow(/does not verify/)
    expect(() => domain.svid('')).toThrow(/does not verify/)
  })

  test('verifies with our own verifier, and only while it is valid', () => {
    const svid = domain.svid(PATH)
    const at = (moment: number) => verifyX509Svid(svid.chain, domain.trust(), moment).ok
    expect([at(domain.now), at(svid.notAfterMs), at(svid.notAfterMs + 1_000)]).toEqual([true, true, false])
    expect(at(svid.notBeforeMs - 1_000)).toBe(false)
  })

  test('is not signed with keys that were read more than a minute ago', () => {
    let clock = 60_000
    const stale = createAuthority({
      reading: domain.reading,
      monotonic: () => clock,
      entropy: (bytes) => Buffer.alloc(bytes, 7),
      replica: 'stale',
    })
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const ask = () => stale.signX509({ path: PATH, publicKey, ttlMs: HOUR }, domain.now)
    expect(ask().spiffeId).toBe(`spiffe://${TD}${PATH}`)
    clock = 60_001
    expect(ask).toThrow(/could not be read for too long/)
  })
})

describe('a JWT-SVID', () => {
  test('is verified by jose with the bundle, its `use` translated', async () => {
    const { token, expiresAtMs } = await domain.authority.signJwt(
      { path: PATH, audience: ['https://api.example', 'other'], ttlMs: 300_000 },
      domain.now,
    )
    const set = JSON.parse(domain.reading().bundle.jwtKeys.toString())
    expect(set.keys).toHaveLength(2)
    for (const key of set.keys) expect(key).toMatchObject({ use: 'jwt-svid', kty: 'EC', crv: 'P-256' })
    const usable = { keys: set.keys.map(({ use: _, ...key }: { use: string }) => key) }
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(usable), {
      audience: 'https://api.example',
      algorithms: ['ES256'],
      requiredClaims: ['sub', 'aud', 'exp'],
    })
    expect(payload.sub).toBe(`spiffe://${TD}${PATH}`)
    expect(Object.keys(protectedHeader).sort()).toEqual(['alg', 'kid', 'typ'])
    expect(protectedHeader).toMatchObject({ alg: 'ES256', typ: 'JWT' })
    expect((payload.exp ?? 0) * 1_000).toBe(expiresAtMs)
    expect(JSON.stringify(set)).not.toContain('"d"')
  })

  test('lives fifteen minutes at most, and no longer than its key promises', async () => {
    const { expiresAtMs } = await domain.authority.signJwt(
      { path: PATH, audience: ['a'], ttlMs: HOUR },
      domain.now,
    )
    expect(expiresAtMs - domain.now).toBeLessThanOrEqual(300_000)
  })
})

describe('keys at rest', () => {
  test('are not touched by a second leader, and a Secret that was tampered with signs nothing', async () => {
    const before = domain.reading().bundle.sequence
    await domain.keep()
    expect(domain.reading().bundle.sequence).toBe(before)
    const other = await openDomain()
    const shelf = other.cabinet.shelves.get('Secret/portcullis-ca')
    const foreign = domain.cabinet.shelves.get('Secret/portcullis-ca')?.content ?? {}
    const [keyName = ''] = Object.keys(shelf?.content ?? {}).filter((name) => name.endsWith('.key'))
    const [foreignKey = ''] = Object.keys(foreign).filter((name) => name.endsWith('.key'))
    const content = { ...shelf?.content, [keyName]: foreign[foreignKey] ?? Buffer.alloc(0) }
    other.cabinet.shelves.set('Secret/portcullis-ca', { content, version: 'v0' })
    await expect(other.keep()).rejects.toThrow(/is another key/)
  })
})
