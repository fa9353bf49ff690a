import fc from 'fast-check'
import { signerOf } from '../fixtures/keys.ts'
import { athOf, bareJwk } from '../fixtures/proofs.ts'
import { CLIENT, CLIENTS, SPELLINGS, THIEF } from './call-world.ts'
import { type Change, type Draft, ODD, spread } from './mutants.ts'

// Changes to a DPoP proof, which has joints of its own.

function member(
  where: 'claims' | 'header',
  usual: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<Change> {
  return fc.constantFrom(...Object.keys(usual)).chain((name) =>
    fc.oneof({ weight: 5, arbitrary: usual[name] ?? ODD }, { weight: 1, arbitrary: ODD }).map(
      (value): Change =>
        (draft) => {
          draft[where][name] = value
        },
    ),
  )
}

export function proofClaim(atS: number): fc.Arbitrary<Change> {
  return member('claims', {
    htm: fc.constantFrom<unknown>('GET', 'get', 'POST', 'GET ', ['GET']),
    htu: fc.constantFrom<unknown>(...SPELLINGS.keys()),
    iat: fc.oneof(
      fc.constantFrom<unknown>(-61, -60, -59, 9, 10, 11, 0.5).map((by) => atS + Number(by)),
      spread(atS),
    ),
    // The first is sent again and again.
    jti: fc.constantFrom<unknown>(
      'again',
      'j'.repeat(256),
      'j'.repeat(257),
      '\u00f6'.repeat(128),
      '\u00f6'.repeat(129),
      '',
    ),
    ath: fc.constantFrom<unknown>(athOf('another token'), '', athOf('').slice(1), `${athOf('')}=`),
    nonce: fc.constantFrom<unknown>('x', '', 'a'.repeat(64)),
    exp: spread(atS),
    nbf: spread(atS),
    ignored: fc.jsonValue({ maxDepth: 1 }),
  })
}

export function proofHeader(): fc.Arbitrary<Change> {
  return member('header', {
    typ: fc.constantFrom<unknown>(
      'dpop+jwt',
      'DPOP+JWT',
      'application/dpop+jwt',
      'JWT',
      'at+jwt',
      'dpop+jwt ',
    ),
    alg: fc.constantFrom<unknown>(
      'none',
      'HS256',
      'ES256',
      'ES384',
      'RS256',
      'PS256',
      'Ed25519',
      'EdDSA',
      'es256',
    ),
    jwk: fc.constantFrom<unknown>(
      bareJwk(THIEF),
      ...CLIENTS.map((key) => bareJwk(key)),
      { ...bareJwk(CLIENT), kid: 'x', use: 'sig' },
      { ...bareJwk(CLIENT), crv: 'P-384' },
      { ...bareJwk(CLIENT), y: bareJwk(CLIENT)['x'] },
      CLIENT.privateKey.export({ format: 'jwk' }),
      { kty: 'oct', k: 'c2VjcmV0' },
    ),
    kid: fc.constantFrom<unknown>('ed', 'client'),
    crit: fc.constantFrom<unknown>([], ['b64'], ['jwk']),
    b64: fc.boolean(),
    jku: fc.constant('https://x.example'),
    x5c: fc.constant(['MIIB']),
    cty: fc.constant('JWT'),
    zip: fc.constant('DEF'),
    enc: fc.constant('A256GCM'),
    ignored: fc.jsonValue({ maxDepth: 1 }),
  })
}

// Whole: key, header and signature fit each other, and only the token says that they are somebody else's.
export function thiefSigns(): fc.Arbitrary<Change> {
  return fc.constant((draft: Draft) => {
    draft.key = THIEF
    draft.sign = signerOf(THIEF)
    Object.assign(draft.header, { alg: THIEF.alg, jwk: bareJwk(THIEF) })
  })
}
