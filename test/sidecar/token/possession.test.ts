// How proofs are asked for, presented and refused (RFC 9449 sections 7 to 9), as the caller sees it on the wire.
import { describe, expect, test } from 'vitest'
import { CheckResponse } from '../../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Outcome } from '../../../sidecar/decide.ts'
import { encodeResponse } from '../../../sidecar/serve/codec.ts'
import { AT_S, said, tokenOf } from '../../attacks/arena.ts'
import { BOUND, type Call, messageOf, openDpopArena } from '../../attacks/dpop-arena.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { CLIENT_KEY, jktOf } from '../../fixtures/proofs.ts'

const ALGS = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 Ed25519'

/** What goes out: verdict, status and the lines of the response. */
function sent(outcome: Outcome) {
  const { outcome: answer } = CheckResponse.decode(encodeResponse(outcome, 'id', 'invoice:read'))
  const headers = answer?.$case === 'allow' ? answer.allow.headers : (answer?.deny.client?.headers ?? [])
  const lines = headers.map(({ name, value }) => `${name}: ${Buffer.from(value)}`)
  const status = answer?.$case === 'deny' ? answer.deny.client?.status : 200
  return { verdict: said(outcome), status, lines }
}
const nonceIn = ({ lines }: { readonly lines: readonly string[] }) =>
  lines.flatMap((line) => (line.startsWith('dpop-nonce: ') ? [line.slice('dpop-nonce: '.length)] : []))

const arena = await openDpopArena()
const plain = await openDpopArena({ tokens: {} })
const answer = async (call: Call, where = arena) => sent(await where.ask(call))
const bearer: Call = { token: {}, scheme: 'Bearer', proof: undefined }

describe('which scheme goes with which token', () => {
  test.each<readonly [claim: string, call: Call, want: string]>([
    ['P1, 000-08: a bound token as Bearer', { scheme: 'Bearer' }, 'cnf_scheme_mismatch'],
    [
      'P1: a bound token as Bearer without a proof',
      { scheme: 'Bearer', proof: undefined },
      'cnf_scheme_mismatch',
    ],
    ['P1: a bound token as DPoP with its proof', {}, 'allow'],
    ['P1: the scheme in other letters (RFC 9110 section 11.1)', { scheme: 'dPoP' }, 'allow'],
    ['P2: an unbound token as DPoP, with a proof', { token: {} }, 'cnf_required'],
    [
      'P2: an unbound token as Bearer, beside a proof that is not asked for',
      { ...bearer, proof: {} },
      'allow',
    ],
    ['P11: a token that is no token68', { token: 'a b' }, 'token_format'],
    ['P12: credentials for a proxy', { ...bearer, headers: [['proxy-authorization', 'DPoP x']] }, 'allow'],
  ])('%s: %s', async (_, call, want) => {
    expect(await arena.verdict(call)).toBe(want)
  })

  test('P12: a token in Proxy-Authorization alone is none', async () => {
    const message = messageOf({ ...bearer })
    const headers = message.headers.map((line) => ({ ...line, name: 'proxy-authorization' }))
    expect(await arena.pipeline.reason({ ...message, headers })).toBe('token_missing')
  })

  test('P3: Bearer and DPoP together are 400, with a challenge for each', async () => {
    const message = messageOf()
    const line = { name: 'authorization', value: Buffer.from(`Bearer ${tokenOf({})}`) }
    const both = sent(await arena.pipeline.ask({ ...message, headers: [...message.headers, line] }))
    expect(both).toEqual({
      verdict: 'auth_multiple',
      status: 400,
      lines: ['www-authenticate: Bearer error="invalid_request"', `www-authenticate: DPoP algs="${ALGS}"`],
    })
  })
})

describe('challenges', () => {
  test('P4: without credentials there is a challenge for each scheme and no error code', async () => {
    const nothing = sent(await arena.pipeline.ask({ ...messageOf(), headers: [] }))
    expect(nothing).toEqual({
      verdict: 'token_missing',
      status: 401,
      lines: ['www-authenticate: Bearer', `www-authenticate: DPoP algs="${ALGS}"`],
    })
  })

  test('P4: where no proof can be checked, none is asked for', async () => {
    const nothing = sent(await plain.pipeline.ask({ ...messageOf(), headers: [] }))
    expect(nothing.lines).toEqual(['www-authenticate: Bearer'])
  })

  test.each<readonly [claim: string, call: Call, lines: readonly string[]]>([
    [
      'P7: a bad proof',
      { proof: { claims: { ath: 'x' } } },
      [`www-authenticate: DPoP error="invalid_dpop_proof", algs="${ALGS}"`],
    ],
    [
      'P7: a bad token under DPoP',
      { token: { claims: { exp: AT_S - 100, iat: AT_S - 200 } } },
      [`www-authenticate: DPoP error="invalid_token", algs="${ALGS}"`],
    ],
    [
      'P1, P7: a bound token as Bearer',
      { scheme: 'Bearer' },
      ['www-authenticate: Bearer error="invalid_token"', `www-authenticate: DPoP algs="${ALGS}"`],
    ],
    [
      'P7: a token without the scope, under DPoP',
      { token: { claims: { ...BOUND.claims, scope: 'invoice:edit' } } },
      [`www-authenticate: DPoP error="insufficient_scope", scope="invoice:read", algs="${ALGS}"`],
    ],
    [
      'P7: a token without the scope, under Bearer',
      { ...bearer, token: { claims: { scope: 'invoice:edit' } } },
      ['www-authenticate: Bearer error="insufficient_scope", scope="invoice:read"'],
    ],
  ])('%s', async (_, call, lines) => {
    expect((await answer(call)).lines).toEqual(lines)
  })

  test('P9: no two reasons why a proof is bad show different bytes', async () => {
    const bad: readonly Call[] = [
      { proof: { header: { typ: 'JWT' } } },
      { proof: { claims: { htm: 'PUT' } } },
      { proof: { claims: { jti: '' } } },
      { proof: { at: AT_S - 1_000 } },
      { proof: { key: signingKey('ES256', 'other') } },
      { proof: undefined },
      { proof: ['x'] },
    ]
    const answers = await Promise.all(bad.map((call) => answer(call)))
    expect(new Set(answers.map(({ verdict }) => verdict)).size).toBe(bad.length)
    expect(new Set(answers.map(({ status, lines }) => JSON.stringify([status, lines]))).size).toBe(1)
  })
})

describe('nonces', () => {
  const partitioned = openDpopArena({ replica: { alone: false } })

  test('D10, P5: where they are demanded, a proof without one is told so, with exactly one nonce', async () => {
    const first = await answer({}, await partitioned)
    expect(first).toMatchObject({ verdict: 'dpop_nonce_required', status: 401 })
    expect(first.lines).toEqual([
      `www-authenticate: DPoP error="use_dpop_nonce", algs="${ALGS}"`,
      expect.stringMatching(/^dpop-nonce: v1\./),
    ])
  })

  test('D10, P5, P6: with that nonce the same call is allowed, brings the next one, and is for no cache', async () => {
    const where = await partitioned
    const [nonce] = nonceIn(await answer({}, where))
    const second = await answer({ proof: { claims: { nonce } } }, where)
    expect(second.verdict).toBe('allow')
    expect(second.lines).toEqual([expect.stringMatching(/^dpop-nonce: v1\./), 'cache-control: no-store'])
  })

  test('P6: where none was used none is sent', async () => {
    expect((await answer({})).lines).toEqual([])
    expect((await answer(bearer)).lines).toEqual([])
  })

  test.each([
    ['text', 'x'],
    ['a number', 1],
    ['null', null],
    ['nothing in it', ''],
  ])(
    'D10: a nonce that is %s is refused, and another one given, even where none is demanded',
    async (_, nonce) => {
      const refused = await answer({ proof: { claims: { nonce } } })
      expect(refused.verdict).toBe('dpop_nonce_invalid')
      expect(nonceIn(refused)).toHaveLength(1)
    },
  )

  test('D10: the nonce of another replica is not good here, in any mode', async () => {
    const [nonce] = nonceIn(await answer({}, await partitioned))
    for (const where of [arena, await openDpopArena({ replica: { alone: false } })])
      expect((await answer({ proof: { claims: { nonce } } }, where)).verdict).toBe('dpop_nonce_invalid')
  })

  test('D11: with a nonce the clock of the client does not matter', async () => {
    const where = await partitioned
    for (const at of [AT_S - 86_400, AT_S + 86_400]) {
      const [nonce] = nonceIn(await answer({}, where))
      expect((await answer({ proof: { at, claims: { nonce } } }, where)).verdict).toBe('allow')
    }
  })

  test('D11: a nonce that is over is refused', async () => {
    const clock = { at: AT_S * 1000 }
    const where = await openDpopArena({ replica: { alone: false }, now: () => clock.at })
    const [nonce] = nonceIn(await answer({}, where))
    clock.at += 29_999
    expect((await answer({ proof: { claims: { nonce } } }, where)).verdict).toBe('allow')
    clock.at += 1
    expect((await answer({ proof: { claims: { nonce } } }, where)).verdict).toBe('dpop_nonce_invalid')
  })

  test('P9: a bad proof is told of no nonce, nor a bearer token', async () => {
    const where = await partitioned
    expect(nonceIn(await answer({ proof: { claims: { htm: 'PUT' } } }, where))).toEqual([])
    expect(nonceIn(await answer(bearer, where))).toEqual([])
  })
})

describe('P13: tokens that their issuer was asked about', () => {
  // What introspection made of an opaque token reaches the binding with claims and no key.
  const bound = { jkt: jktOf(CLIENT_KEY) }
  test.each<readonly [type: string | undefined, cnf: object | undefined, scheme: string, want: string]>([
    ['DPoP', bound, 'DPoP', 'bound'],
    ['dpop', bound, 'DPoP', 'bound'],
    [undefined, bound, 'DPoP', 'bound'],
    ['Bearer', bound, 'DPoP', 'cnf_scheme_mismatch'],
    ['DPoP', bound, 'Bearer', 'cnf_scheme_mismatch'],
    ['DPoP', undefined, 'Bearer', 'cnf_required'],
    ['DPoP', undefined, 'DPoP', 'cnf_required'],
    ['Bearer', undefined, 'Bearer', 'bound'],
    ['DPoP', { kid: 'x' }, 'DPoP', 'cnf_unknown'],
  ])('P13: of type %s with cnf %j under %s: %s', async (type, cnf, scheme, want) => {
    const { introspected } = await import('./introspected.ts')
    expect(introspected({ token_type: type, cnf }, scheme)).toBe(want)
  })
})
