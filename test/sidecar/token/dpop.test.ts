// RFC 9449 section 4.3 check by check, over the whole road: each row differs from a good call in one thing.
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { MAX_PROOF_BYTES } from '../../../sidecar/token/proof.ts'
import { AT_S } from '../../attacks/arena.ts'
import { BOUND, type Call, judgesProofs, openDpopArena } from '../../attacks/dpop-arena.ts'
import { type Alg, derSigner, hmacSigner, type SigningKey, signingKey } from '../../fixtures/keys.ts'
import {
  athOf,
  BASE_URL,
  bareJwk,
  CLIENT_KEY,
  forgeProof,
  jktOf,
  type ProofForge,
} from '../../fixtures/proofs.ts'
import { base64url, constant, noncanonical, rawObject, unsigned } from '../../fixtures/tokens.ts'

const arena = await openDpopArena()
const GOOD: Call = {}
const with_ = (proof: ProofForge): Call => ({ proof })
const header = (members: ProofForge['header'] & object): Call => with_({ header: members })
const claims = (members: ProofForge['claims'] & object): Call => with_({ claims: members })
const other = signingKey('ES256', 'other')
const jwk = bareJwk(CLIENT_KEY)

describe('a good proof', () => {
  judgesProofs(arena, [['a proof with all it needs', GOOD, 'allow']])
  const ALGS: readonly Alg[] = [
    'ES256',
    'ES384',
    'ES512',
    'Ed25519',
    'EdDSA',
    'RS256',
    'RS512',
    'PS256',
    'PS512',
  ]
  judgesProofs(
    arena,
    ALGS.map((alg) => {
      const key = signingKey(alg, `client-${alg}`)
      return [
        `D5: a proof signed with ${alg}`,
        { token: { claims: { cnf: { jkt: jktOf(key) } } }, proof: { key } },
        'allow',
      ] as const
    }),
  )
})

describe('D1: one DPoP header', () => {
  const line = forgeProof({ token: 'x', at: AT_S })
  judgesProofs(arena, [
    ['D1: no proof', { proof: undefined }, 'dpop_missing'],
    ['D1: two proofs', { proof: [line, line] }, 'dpop_multiple'],
    ['D1, 003-05: two proofs in one line', { proof: [`${line}, ${line}`] }, 'dpop_multiple'],
    ['D1: an empty proof', { proof: [''] }, 'dpop_malformed'],
  ])
})

describe('D2: one well-formed JWT', () => {
  judgesProofs(arena, [
    ['D2: two segments', with_({ tamper: ([h, p]) => [h, p] }), 'dpop_malformed'],
    ['D2: four segments', with_({ tamper: (all) => [...all, 'AA'] }), 'dpop_malformed'],
    ['D2: five segments', with_({ tamper: (all) => [...all, 'AA', 'AA'] }), 'dpop_malformed'],
    ['D2: the JSON serialization', { proof: ['{"payload":"e30"}'] }, 'dpop_malformed'],
    ['D2: a header with padding', with_({ encode: (bytes) => `${base64url(bytes)}=` }), 'dpop_malformed'],
    ['D2: a signature with blanks', with_({ tamper: ([h, p, s]) => [h, p, `${s} `] }), 'dpop_malformed'],
    [
      'D2: bits that mean nothing',
      with_({ tamper: ([h, p, s]) => [h, p, noncanonical(s)] }),
      'dpop_malformed',
    ],
    ['D2: a payload that is a list', with_({ payloadText: '[]' }), 'dpop_malformed'],
    ['D2: a payload that is no JSON', with_({ payloadText: '{' }), 'dpop_malformed'],
    ['D2: a payload with a BOM', with_({ payloadText: '\ufeff{}' }), 'dpop_malformed'],
    [
      'D2: a payload that is not UTF-8',
      with_({ payloadText: Buffer.from([0x7b, 0xff, 0x7d]) }),
      'dpop_malformed',
    ],
    [
      'D2: jti twice',
      with_({
        payloadText: rawObject([
          ['jti', 'a'],
          ['jti', 'b'],
        ]),
      }),
      'dpop_malformed',
    ],
    [
      'D2: alg twice',
      with_({
        headerText: rawObject([
          ['typ', 'dpop+jwt'],
          ['alg', 'none'],
          ['alg', 'ES256'],
          ['jwk', jwk],
        ]),
      }),
      'dpop_malformed',
    ],
    [
      'D2: nested deeper than 16',
      with_({ payloadText: `{"a":${'['.repeat(17)}${']'.repeat(17)}}` }),
      'dpop_malformed',
    ],
    ['D2: crit that nobody understands', header({ crit: ['x'] }), 'dpop_malformed'],
    ['D2: an unencoded payload', header({ b64: false }), 'dpop_malformed'],
    ['D2: a key elsewhere', header({ jku: 'https://evil.example/jwks' }), 'dpop_malformed'],
    ['D2: a chain of certificates', header({ x5c: ['MII'] }), 'dpop_malformed'],
    ['D2: an encrypted one', header({ enc: 'A256GCM' }), 'dpop_malformed'],
    ['D2: a kid, which says nothing', header({ kid: 'k' }), 'allow'],
  ])

  test.each([
    [MAX_PROOF_BYTES, 'allow'],
    [MAX_PROOF_BYTES + 4, 'token_too_large'],
  ])('D2: a proof of %i bytes: %s', async (size, want) => {
    const token = (await import('../../attacks/arena.ts')).tokenOf(BOUND)
    const length = (pad: string) => forgeProof({ token, at: AT_S, jti: 'size', claims: { pad } }).length
    let pad = 'x'.repeat(3 * Math.floor((size - length('')) / 4))
    while (length(`${pad}x`) <= size) pad += 'x'
    const line = forgeProof({ token, at: AT_S, jti: 'size', claims: { pad } })
    expect(Math.abs(line.length - size)).toBeLessThan(4)
    expect(await arena.verdict({ token, proof: [line] })).toBe(want)
  })
})

describe('D3: the claims a proof must have', () => {
  judgesProofs(arena, [
    ['D3: no jti', claims({ jti: undefined }), 'dpop_jti'],
    ['D3: an empty jti', claims({ jti: '' }), 'dpop_jti'],
    ['D3: a jti that is a number', claims({ jti: 1 }), 'dpop_jti'],
    ['D3, P10: a jti of 256 bytes', claims({ jti: 'j'.repeat(256) }), 'allow'],
    ['D3, P10: a jti of 257 bytes', claims({ jti: 'j'.repeat(257) }), 'dpop_jti'],
    ['D3, P10: a jti of 256 characters and 512 bytes', claims({ jti: 'é'.repeat(256) }), 'dpop_jti'],
    ['D3: no htm', claims({ htm: undefined }), 'dpop_htm'],
    ['D3: no htu', claims({ htu: undefined }), 'dpop_htu'],
    ['D3: an htu that is a list', claims({ htu: [`${BASE_URL}/invoices/inv-1`] }), 'dpop_htu'],
    ['D3: no iat', claims({ iat: undefined }), 'dpop_iat_skew'],
    ['D3: an iat that is text', claims({ iat: String(AT_S) }), 'dpop_iat_skew'],
    ['D3: an iat with a fraction', claims({ iat: AT_S + 0.5 }), 'dpop_iat_skew'],
    ['D3: no ath', claims({ ath: undefined }), 'dpop_ath'],
  ])
})

describe('D4: typ', () => {
  judgesProofs(arena, [
    ['D4: no typ', header({ typ: undefined }), 'dpop_typ'],
    ['D4: JWT', header({ typ: 'JWT' }), 'dpop_typ'],
    ['D4: an access token', header({ typ: 'at+jwt' }), 'dpop_typ'],
    ['D4: something longer', header({ typ: 'dpop+jwt2' }), 'dpop_typ'],
    ['D4: a list', header({ typ: ['dpop+jwt'] }), 'dpop_typ'],
    ['D4: the whole media type (RFC 7515 section 4.1.9)', header({ typ: 'application/dpop+jwt' }), 'allow'],
  ])
})

describe('D5: alg', () => {
  const secret = Buffer.from(String(jwk['x']))
  judgesProofs(arena, [
    ['D5: none', with_({ header: { alg: 'none' }, sign: unsigned }), 'dpop_alg'],
    ['D5: none with a signature', header({ alg: 'none' }), 'dpop_alg'],
    [
      'D5: HS256 keyed with what is public',
      with_({ header: { alg: 'HS256' }, sign: hmacSigner(secret) }),
      'dpop_alg',
    ],
    ['D5: no alg', header({ alg: undefined }), 'dpop_alg'],
    ['D5: a list', header({ alg: ['ES256'] }), 'dpop_alg'],
    ['D5: lower case', header({ alg: 'es256' }), 'dpop_alg'],
    ['D5: another curve than the key has', header({ alg: 'ES384' }), 'dpop_jwk'],
    ['D5: another family than the key has', header({ alg: 'RS256' }), 'dpop_jwk'],
  ])
})

describe('D6, 003-11: the signature', () => {
  judgesProofs(arena, [
    ['D6: of another key', with_({ sign: (input) => Buffer.from(input.subarray(0, 64)) }), 'dpop_sig'],
    ['D6: all zero', with_({ sign: constant(Buffer.alloc(64)) }), 'dpop_sig'],
    ['D6: in DER', with_({ sign: derSigner(CLIENT_KEY) }), 'dpop_sig'],
    ['D6: none at all', with_({ sign: unsigned }), 'dpop_sig'],
    [
      'D6: over another payload',
      with_({ tamper: ([h, , s]) => [h, forgeProof({ at: AT_S }).split('.')[1] ?? '', s] }),
      'dpop_ath',
    ],
  ])
  test('D6: over a payload that is good in everything else', async () => {
    const token = (await import('../../attacks/arena.ts')).tokenOf(BOUND)
    const [h, , s] = forgeProof({ token, at: AT_S }).split('.')
    const [, p] = forgeProof({ token, at: AT_S }).split('.')
    expect(await arena.verdict({ token, proof: [`${h}.${p}.${s}`] })).toBe('dpop_sig')
  })
})

describe('D7: jwk', () => {
  const { privateKey } = CLIENT_KEY
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const weakKey: SigningKey = {
    ...signingKey('RS256', 'weak'),
    ...weak,
    jwk: { ...weak.publicKey.export({ format: 'jwk' }) },
  }
  judgesProofs(arena, [
    ['D7: no jwk', header({ jwk: undefined }), 'dpop_jwk'],
    ['D7: a private key', header({ jwk: privateKey.export({ format: 'jwk' }) }), 'dpop_jwk'],
    ['D7: a private member that is null', header({ jwk: { ...jwk, d: null } }), 'dpop_jwk'],
    ['D7: a symmetric key', header({ jwk: { kty: 'oct', k: 'AAAA' } }), 'dpop_jwk'],
    ['D7: a list', header({ jwk: [jwk] }), 'dpop_jwk'],
    ['D7: text', header({ jwk: JSON.stringify(jwk) }), 'dpop_jwk'],
    ['D7: no coordinate', header({ jwk: { ...jwk, y: undefined } }), 'dpop_jwk'],
    ['D7: a coordinate that is a number', header({ jwk: { ...jwk, y: 1 } }), 'dpop_jwk'],
    ['D7: a coordinate with a quote in it', header({ jwk: { ...jwk, y: '","z":"' } }), 'dpop_jwk'],
    [
      'D7: an algorithm of its own that agrees',
      header({ jwk: { ...jwk, alg: 'ES256', use: 'sig' } }),
      'allow',
    ],
    ['D7: another name for the key', header({ jwk: { ...jwk, kid: 'anything', 'x5t#S256': 'x' } }), 'allow'],
  ])
  judgesProofs(arena, [
    ['D7: meant for encryption', header({ jwk: { ...jwk, use: 'enc' } }), 'dpop_jwk'],
    [
      'D7: RSA of 1024 bits',
      { token: { claims: { cnf: { jkt: jktOf(weakKey) } } }, proof: { key: weakKey } },
      'dpop_jwk',
    ],
    [
      'D7: a point that is not on the curve',
      (() => {
        const off = { ...CLIENT_KEY, jwk: { ...jwk, y: Buffer.alloc(32, 1).toString('base64url') } }
        return { token: { claims: { cnf: { jkt: jktOf(off) } } }, proof: { key: off } }
      })(),
      'dpop_jwk',
    ],
  ])
})

describe('D8, 003-07: htm', () => {
  judgesProofs(arena, [
    ['D8: the method of the request', { method: 'POST', proof: { method: 'POST' } }, 'allow'],
    ['D8: another method', { method: 'POST' }, 'dpop_htm'],
    ['D8: in lower case', claims({ htm: 'get' }), 'dpop_htm'],
    ['D8: with a blank', claims({ htm: 'GET ' }), 'dpop_htm'],
    ['D8: a method that HTTP does not know', { method: 'invent', proof: { method: 'invent' } }, 'allow'],
  ])
})

describe('D9, 003-08: htu', () => {
  const unconfigured = openDpopArena({ tokens: {} })
  test('D9: without a configured base URL there is nothing to compare with', async () => {
    expect(await (await unconfigured).verdict()).toBe('dpop_htu')
  })
  judgesProofs(arena, [
    ['D9: the query of the request does not count', { url: '/invoices/inv-1?a=b' }, 'allow'],
    ['D9: another path', with_({ url: `${BASE_URL}/invoices/inv-2` }), 'dpop_htu'],
    ['D9: another host', with_({ url: 'https://evil.example/invoices/inv-1' }), 'dpop_htu'],
    ['D9: another scheme', with_({ url: 'http://api.test.example/invoices/inv-1' }), 'dpop_htu'],
  ])
})

describe('D11, 003-09: iat', () => {
  judgesProofs(arena, [
    ['D11: 59 seconds old', with_({ at: AT_S - 59 }), 'allow'],
    ['D11: 60 seconds old', with_({ at: AT_S - 60 }), 'allow'],
    ['D11: 61 seconds old', with_({ at: AT_S - 61 }), 'dpop_iat_skew'],
    ['D11: 9 seconds ahead', with_({ at: AT_S + 9 }), 'allow'],
    ['D11: 10 seconds ahead', with_({ at: AT_S + 10 }), 'allow'],
    ['D11: 11 seconds ahead', with_({ at: AT_S + 11 }), 'dpop_iat_skew'],
    ['D11, 000-21: the clock of a phone, two minutes slow,', with_({ at: AT_S - 120 }), 'dpop_iat_skew'],
    ['D11, 000-21: the clock of a phone, two minutes fast,', with_({ at: AT_S + 120 }), 'dpop_iat_skew'],
    [
      'D11: 1e999',
      with_({ payloadText: `{"jti":"a","htm":"GET","htu":"${BASE_URL}/invoices/inv-1","iat":1e999}` }),
      'dpop_iat_skew',
    ],
    ['D11: negative', claims({ iat: -1 }), 'dpop_iat_skew'],
    ['D11: over by its own word', claims({ exp: AT_S - 11 }), 'dpop_iat_skew'],
    ['D11: good by its own word', claims({ exp: AT_S + 1, nbf: AT_S }), 'allow'],
    ['D11: not yet good by its own word', claims({ nbf: AT_S + 11 }), 'dpop_iat_skew'],
  ])
})

describe('D12, 003-04, 003-10, 003-12: token and key', () => {
  judgesProofs(arena, [
    ['D12, 003-10: of another token', claims({ ath: athOf('another') }), 'dpop_ath'],
    ['D12: ath in hex', claims({ ath: Buffer.from(athOf('x'), 'base64url').toString('hex') }), 'dpop_ath'],
    ['D12: ath with padding', (() => claims({ ath: `${athOf('x')}=` }))(), 'dpop_ath'],
    ['D12, 003-12: another key', with_({ key: other }), 'dpop_jkt'],
    ['D12: a token bound to nothing readable', { token: { claims: { cnf: { jkt: 1 } } } }, 'dpop_jkt'],
    ['D12: a token bound to an empty key', { token: { claims: { cnf: { jkt: '' } } } }, 'dpop_jkt'],
    [
      'D12: a token bound to its key twice over',
      { token: { claims: { cnf: { jkt: `${jktOf(CLIENT_KEY)}=` } } } },
      'dpop_jkt',
    ],
    [
      'D12: the jwk of the bound key, signed by another',
      { proof: { key: other, header: { jwk } } },
      'dpop_sig',
    ],
  ])
})
