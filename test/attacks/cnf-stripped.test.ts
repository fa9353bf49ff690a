import { describe, expect, test } from 'vitest'
import { admits, openArena, refuses, tokenOf } from './arena.ts'

const arena = await openArena()
const JKT = '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I'
const bound = { claims: { cnf: { jkt: JKT } } }
const certificate = { claims: { cnf: { 'x5t#S256': JKT } } }

describe('attack 63: 000-08: a bound token presented without its proof', () => {
  refuses(arena, [
    ['a token bound to a key, as Bearer,', bound, 'cnf_scheme_mismatch'],
    ['a token bound to a certificate, without one,', certificate, 'mtls_missing'],
    ['a token bound to an empty thumbprint', { claims: { cnf: { jkt: '' } } }, 'cnf_scheme_mismatch'],
    ['a token bound to a thumbprint that is null', { claims: { cnf: { jkt: null } } }, 'cnf_scheme_mismatch'],
  ])
  admits(arena, [
    ['a token that is bound to nothing', {}],
    ['a claim that is called CNF', { claims: { CNF: { jkt: JKT }, confirmation: { jkt: JKT } } }],
  ])

  test.each([
    ['a bound token as DPoP without a proof', bound, 'DPoP', 'dpop_missing'],
    ['an unbound token as DPoP', {}, 'DPoP', 'cnf_required'],
    ['an unbound token as dpop in lower case', {}, 'dpop', 'cnf_required'],
    ['a token bound to a certificate as DPoP', certificate, 'DPoP', 'mtls_missing'],
  ])('%s is refused', async (_, weapon, scheme, want) => {
    expect(await arena.verdict({}, { authorization: [`${scheme} ${tokenOf(weapon)}`] })).toBe(want)
  })

  test('a proof that nobody checks does not help', async () => {
    const message = { ...(await import('../fixtures/question.ts')).question({ token: tokenOf(bound) }) }
    const headers = [...message.headers, { name: 'dpop', value: Buffer.from('a.b.c') }]
    expect(await arena.pipeline.reason({ ...message, headers })).toBe('cnf_scheme_mismatch')
  })
})
