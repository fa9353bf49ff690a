// The figures of RFC 9449, and the thumbprints of RFC 7638 and RFC 8037, as golden vectors.
import { describe, expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import { createProofCheck } from '../../../sidecar/token/dpop.ts'
import { createNonces, NONCE_SECRET_BYTES } from '../../../sidecar/token/nonce.ts'
import { parseProof } from '../../../sidecar/token/proof.ts'
import { createProofKeys } from '../../../sidecar/token/proof-keys.ts'
import type { Edge } from '../../../sidecar/trust/token-rules.ts'

const HEADER =
  'eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19'
/** Section 5, the token request. */
const AT_TOKEN_ENDPOINT = `${HEADER}.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg`
/** Section 7.1, the request for the protected resource. */
const AT_RESOURCE = `${HEADER}.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA`
const TOKEN = 'Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU'
const JKT = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
const IAT_MS = 1_562_262_618_000

const edge: Edge = {
  baseUrl: new URL('https://resource.example.org'),
  ...{ strippedPrefix: '', trustedHops: new Set(), certificateHeader: 'none', ownId: '' },
}
const check = createProofCheck({
  keys: createProofKeys(),
  nonces: createNonces(new Uint8Array(NONCE_SECRET_BYTES)),
  demandsNonce: () => false,
})
const verdict = (
  line: string,
  change: Partial<{ token: string; jkt: string; method: string; url: string; at: number }> = {},
) => {
  const { token = TOKEN, jkt = JKT, method = 'GET', url = '/protectedresource', at = IAT_MS } = change
  const checked = check(Buffer.from(line), {
    request: { method, url },
    edge,
    token: Buffer.from(token),
    jkt,
    at,
  })
  return denied(checked) ? checked.reason : checked
}

describe('RFC 9449', () => {
  test('D1 to D12, 003-04: the proof of section 7.1 is good for its token, its request and its moment', () => {
    expect(verdict(AT_RESOURCE)).toMatchObject({ thumbprint: JKT, jti: 'e1j3V_bKic8-LAEB', nonced: false })
  })

  test.each([
    ['D12', { token: `${TOKEN}x` }, 'dpop_ath'],
    ['D12', { jkt: JKT.replace('0', '1') }, 'dpop_jkt'],
    ['D8', { method: 'POST' }, 'dpop_htm'],
    ['D9', { url: '/protectedresource2' }, 'dpop_htu'],
    ['D11', { at: IAT_MS + 61_000 }, 'dpop_iat_skew'],
  ])('%s: and not for %j', (_, change, reason) => {
    expect(verdict(AT_RESOURCE, change)).toBe(reason)
  })

  test('D6: the signature of section 7.1 is not that of section 5', () => {
    const [header, payload] = AT_RESOURCE.split('.')
    expect(verdict([header, payload, AT_TOKEN_ENDPOINT.split('.')[2]].join('.'))).toBe('dpop_sig')
  })

  test('D3, D6: the proof of section 5 is genuine, and not for a resource', () => {
    const proof = parseProof(Buffer.from(AT_TOKEN_ENDPOINT))
    if (denied(proof)) throw new Error(proof.reason)
    expect(proof.thumbprint).toBe(JKT)
    expect(createProofKeys().find(proof)?.(proof.signed, proof.signature)).toBe(true)
    const place = { method: 'POST', url: '/token', at: 1_562_262_616_000 }
    expect(verdict(AT_TOKEN_ENDPOINT, place)).toBe('dpop_htu')
    expect(verdict(AT_TOKEN_ENDPOINT)).toBe('dpop_htm')
  })
})

describe('thumbprints', () => {
  test.each([
    [
      'RFC 7638 section 3.1',
      'RS256',
      {
        kty: 'RSA',
        n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
        e: 'AQAB',
        alg: 'RS256',
        kid: '2011-04-29',
      },
      'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs',
    ],
    [
      'RFC 8037 appendix A.3',
      'Ed25519',
      { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
      'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
    ],
  ])('D12, 003-12: of %s', (_, alg, jwk, want) => {
    const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const proof = parseProof(Buffer.from(`${encoded({ typ: 'dpop+jwt', alg, jwk })}.${encoded({})}.AA`))
    expect(denied(proof) ? proof.reason : proof.thumbprint).toBe(want)
  })
})

describe('keys of proofs', () => {
  test('D6: are imported once while they are in use, and the least recently used goes first', () => {
    const keys = createProofKeys(2)
    const parsed = parseProof(Buffer.from(AT_RESOURCE))
    if (denied(parsed)) throw new Error(parsed.reason)
    const named = (thumbprint: string) => keys.find({ ...parsed, thumbprint })
    const [a, b] = [named('a'), named('b')]
    expect(named('a')).toBe(a)
    const c = named('c')
    expect([keys.size(), named('a') === a, named('c') === c, named('b') === b]).toEqual([
      2,
      true,
      true,
      false,
    ])
  })

  test('D7: that are weak are not kept', () => {
    const keys = createProofKeys()
    const jwk = { kty: 'RSA', n: Buffer.alloc(128, 255).toString('base64url'), e: 'AQAB' }
    expect(keys.find({ algorithm: 'RS256', jwk, thumbprint: 'weak' })).toBeUndefined()
    expect(keys.size()).toBe(0)
  })
})
