import fc from 'fast-check'
import {
  derSigner,
  hmacSigner,
  relabelled,
  type Signer,
  type SigningKey,
  signerOf,
  signingKey,
} from '../fixtures/keys.ts'
import {
  AUDIENCE,
  base64,
  base64url,
  forge,
  goodClaims,
  goodHeader,
  ISSUER,
  noncanonical,
  type Segments,
} from '../fixtures/tokens.ts'

// Tokens a few changes away from a genuine one; the changes know where a token has its joints.

export const KEYS = [signingKey('Ed25519', 'ed'), signingKey('ES256', 'ec'), signingKey('RS256', 'rsa')]
const [ED = signingKey('Ed25519', 'ed')] = KEYS
const STRANGERS = KEYS.map(({ alg, kid }) => relabelled(signingKey(alg, `stranger-${kid}`), { kid }))

/** A token being made: everything a change may touch. */
export interface Draft {
  key: SigningKey
  header: Record<string, unknown>
  claims: Record<string, unknown>
  headerText: (text: string) => string
  claimsText: (text: string) => string
  encode: (bytes: Buffer) => string
  sign: Signer | undefined
  tamper: (segments: Segments) => readonly string[]
}
export type Change = (draft: Draft) => void

export function mutant(atS: number): fc.Arbitrary<string> {
  const changes = fc.array(change(atS), { minLength: 0, maxLength: 3 })
  return fc.tuple(fc.constantFrom(ED, ED, ED, ...KEYS), changes).map(([key, list]) => {
    const draft = draftOf(key, atS)
    for (const one of list) one(draft)
    return tokenOf(draft)
  })
}

export function draftOf(key: SigningKey, atS: number): Draft {
  const same = <T>(value: T) => value
  const header = { ...goodHeader(key) }
  const claims = { ...goodClaims(atS, { jti: 'one' }) }
  return {
    key,
    header,
    claims,
    headerText: same,
    claimsText: same,
    encode: base64url,
    sign: undefined,
    tamper: same,
  }
}

export function tokenOf({
  key,
  header,
  claims,
  headerText,
  claimsText,
  encode,
  sign,
  tamper,
}: Draft): string {
  return forge({
    key,
    encode,
    tamper,
    sign: sign ?? signerOf(key),
    headerText: headerText(JSON.stringify(header)),
    payloadText: claimsText(JSON.stringify(claims)),
  })
}

export function change(atS: number): fc.Arbitrary<Change> {
  return fc.oneof(
    { weight: 6, arbitrary: claimChange(atS) },
    { weight: 1, arbitrary: lifeChange(atS) },
    { weight: 3, arbitrary: headerChange() },
    { weight: 3, arbitrary: textChange() },
    { weight: 1, arbitrary: encodingChange() },
    { weight: 1, arbitrary: signatureChange() },
    { weight: 1, arbitrary: segmentChange() },
  )
}

export const ODD: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    false,
    0,
    -1,
    1.5,
    '',
    ' ',
    [],
    {},
    [[]],
    'x',
    ['x'],
    9e15,
    1e300,
  ),
  fc.string({ maxLength: 5 }),
  fc.jsonValue({ maxDepth: 2 }),
)
export const spread = (at: number) =>
  fc
    .oneof(
      fc.constantFrom(-3601, -3600, -3541, -61, -60, -59, -1, 0, 1, 59, 60, 61, 3600, 3601),
      fc.integer({ min: -4000, max: 4000 }),
    )
    .map((by) => at + by)

function claimChange(atS: number): fc.Arbitrary<Change> {
  const usual: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    exp: spread(atS + 60),
    iat: spread(atS),
    nbf: spread(atS),
    aud: fc.constantFrom<unknown>(
      [AUDIENCE],
      [AUDIENCE, 'x'],
      ['x', AUDIENCE],
      `${AUDIENCE}x`,
      [AUDIENCE, 1],
      AUDIENCE.slice(1),
    ),
    iss: fc.constantFrom<unknown>(ISSUER, `${ISSUER}/`, [ISSUER], 'https://other.example'),
    sub: fc.constantFrom<unknown>('alice', 'a'.repeat(256), 'a'.repeat(257), 'b\u00f6b', 7),
    client_id: fc.constantFrom<unknown>('alice', 'x', ''),
    jti: fc.constantFrom<unknown>('two', 'j'.repeat(256), 'j'.repeat(257)),
    tenant: fc.constantFrom<unknown>('acme', 'globex', 'initech', ['acme']),
    scope: fc.constantFrom<unknown>(
      'invoice:read',
      'a invoice:read',
      'a  invoice:read',
      'invoice:reader',
      'invoice:read ',
      ['invoice:read'],
    ),
    roles: fc.constantFrom<unknown>([], ['a'], 'a', ['a', 1], [{ value: 'a' }], [{ value: 1 }], [{}]),
    cnf: fc.constantFrom<unknown>({ jkt: 'a' }, {}, { kid: 'a' }),
    ignored: fc.anything({ maxDepth: 2, withNullPrototype: false }).map((value) => JSON.stringify(value)),
  }
  return fc.constantFrom(...Object.keys(usual)).chain((name) =>
    fc.oneof({ weight: 3, arbitrary: usual[name] ?? ODD }, { weight: 1, arbitrary: ODD }).map(
      (value): Change =>
        ({ claims }) => {
          claims[name] = value
        },
    ),
  )
}

function lifeChange(atS: number): fc.Arbitrary<Change> {
  return fc.tuple(spread(atS - 100), fc.constantFrom(1, 39, 40, 41, 100, 160, 3599, 3600, 3601)).map(
    ([iat, life]): Change =>
      ({ claims }) => {
        Object.assign(claims, { iat, exp: iat + life })
      },
  )
}

function headerChange(): fc.Arbitrary<Change> {
  const usual: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    alg: fc.constantFrom<unknown>(
      'none',
      'RS256',
      'ES256',
      'Ed25519',
      'EdDSA',
      'HS256',
      'PS256',
      'RS512',
      'ed25519',
    ),
    typ: fc.constantFrom<unknown>('at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', 'dpop+jwt', 'at+jwt '),
    kid: fc.constantFrom<unknown>('ed', 'ec', 'rsa', 'other', '../ed', 1, 'ED'),
    crit: fc.constantFrom<unknown>([], ['b64'], ['x'], ['alg']),
    b64: fc.boolean(),
    jwk: fc.constantFrom<unknown>(...KEYS.map(({ jwk }) => jwk), {}),
    jku: fc.constant('https://x.example'),
    x5c: fc.constant(['MIIB']),
    x5t: fc.constant('AAAA'),
    cty: fc.constantFrom('JWT', 'json'),
    zip: fc.constant('DEF'),
    enc: fc.constant('A256GCM'),
    ignored: fc.jsonValue({ maxDepth: 1 }),
  }
  return fc.constantFrom(...Object.keys(usual)).chain((name) =>
    fc.oneof({ weight: 4, arbitrary: usual[name] ?? ODD }, { weight: 1, arbitrary: ODD }).map(
      (value): Change =>
        ({ header }) => {
          header[name] = value
        },
    ),
  )
}

export function textChange(): fc.Arbitrary<Change> {
  const inside = (more: string) => (text: string) => `${text.slice(0, -1)},${more}}`
  const edits: readonly ((text: string) => string)[] = [
    (text) => ` ${text}\n`,
    (text) => text.replaceAll(',"', ' ,\t"').replaceAll('":', '" : '),
    (text) => text.replace('a', '\\u0061'),
    (text) => text.replaceAll('/', '\\/'),
    (text) => `\ufeff${text}`,
    (text) => `${text} x`,
    (text) => text.slice(0, -1),
    (text) => `[${text}]`,
    (text) => `${text}${text}`,
    inside('"sub":"root"'),
    inside('"alg":"none"'),
    inside('"\\u0061ud":"x"'),
    inside('"x":{"a":1,"a":2}'),
    inside('"x":{"a":1,"b":[{"a":":"}]}'),
    inside('"x":"\\ud83d\\ude00"'),
    inside('"x":"\\ud83d"'),
    inside('"x":"\\u0000"'),
    inside('"x":1e999'),
    inside('"x":"\\"a\\":\\\\"'),
    inside(`"x":${'['.repeat(15)}${']'.repeat(15)}`),
    inside(`"x":${'['.repeat(16)}${']'.repeat(16)}`),
    inside(`"x":"${'y'.repeat(4_000)}"`),
    inside(`"x":"${'y'.repeat(6_000)}"`),
    inside('"__proto__":{"sub":"root"}'),
    inside('"":1'),
  ]
  return fc.tuple(fc.constantFrom(...edits), fc.boolean()).map(
    ([edit, inHeader]): Change =>
      (draft) => {
        const member = inHeader ? 'headerText' : 'claimsText'
        const before = draft[member]
        draft[member] = (text) => edit(before(text))
      },
  )
}

export function encodingChange(): fc.Arbitrary<Change> {
  const spell = (edit: (text: string) => string) => (bytes: Buffer) => edit(base64url(bytes))
  const bend = (text: string) => (text.length % 4 === 0 ? text : noncanonical(text))
  return fc
    .constantFrom(
      base64,
      spell((text) => `${text}=`),
      spell((text) => ` ${text}`),
      spell((text) => `${text}\n`),
      spell(bend),
    )
    .map(
      (encode): Change =>
        (draft) => {
          draft.encode = encode
        },
    )
}

export function signatureChange(): fc.Arbitrary<Change> {
  const kinds: readonly ((draft: Draft) => Signer)[] = [
    () => () => Buffer.alloc(0),
    () => () => Buffer.alloc(64),
    () => hmacSigner('secret'),
    ({ key }) => (key.alg === 'ES256' ? derSigner(key) : () => Buffer.alloc(70)),
    ({ key }) =>
      (input) =>
        signerOf(key)(input).subarray(1),
    ({ key }) =>
      (input) =>
        Buffer.concat([signerOf(key)(input), Buffer.alloc(1)]),
    ({ key }) => signerOf(STRANGERS.find(({ kid }) => kid === key.kid) ?? key),
    ({ key }) =>
      (input) =>
        signerOf(key)(input.subarray(1)),
  ]
  return fc.constantFrom(...kinds).map(
    (kind): Change =>
      (draft) => {
        draft.sign = kind(draft)
      },
  )
}

export function segmentChange(): fc.Arbitrary<Change> {
  const cut = (text: string, at: number, put: string) =>
    `${text.slice(0, at % (text.length + 1))}${put}${text.slice((at % (text.length + 1)) + 1)}`
  return fc.tuple(fc.nat(2), fc.nat(900), fc.constantFrom('', '.', 'A', '-', '=', ' ', '~', 'AA')).map(
    ([index, at, put]): Change =>
      (draft) => {
        draft.tamper = (segments) =>
          segments.map((text, which) => (which === index ? cut(text, at, put) : text))
      },
  )
}
