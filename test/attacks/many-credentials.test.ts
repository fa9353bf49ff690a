import { describe, expect, test } from 'vitest'
import type { CheckRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { denied, statusOf } from '../../sidecar/decision.ts'
import { question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const arena = await openArena()
const good = tokenOf({})
const other = tokenOf({ claims: { sub: 'mallory' } })
const bad = `${good.slice(0, -8)}AAAAAAAA`

const headers = (...lines: readonly (readonly [name: string, value: string])[]): CheckRequest => ({
  ...question(),
  headers: lines.map(([name, value]) => ({ name, value: Buffer.from(value) })),
})
const authorization = (...values: readonly string[]) =>
  headers(...values.map((value) => ['authorization', value] as const))

const SEVERAL: readonly (readonly [name: string, message: CheckRequest])[] = [
  ['two different tokens', authorization(`Bearer ${good}`, `Bearer ${other}`)],
  ['the same token twice', authorization(`Bearer ${good}`, `Bearer ${good}`)],
  ['a bad token and then a good one', authorization(`Bearer ${bad}`, `Bearer ${good}`)],
  ['a good token and then a bad one', authorization(`Bearer ${good}`, `Bearer ${bad}`)],
  ['an empty line and then a good one', authorization('', `Bearer ${good}`)],
  ['a good line and then an empty one', authorization(`Bearer ${good}`, '')],
  ['Basic and Bearer', authorization('Basic YTpi', `Bearer ${good}`)],
  ['Bearer and DPoP', authorization(`Bearer ${good}`, `DPoP ${good}`)],
  [
    'two lines whose names differ in case',
    headers(['Authorization', `Bearer ${good}`], ['AUTHORIZATION', `Bearer ${good}`]),
  ],
  ['three lines', authorization(`Bearer ${good}`, `Bearer ${good}`, `Bearer ${good}`)],
  ['two tokens joined by a comma', authorization(`Bearer ${good}, Bearer ${other}`)],
  ['two tokens joined by a comma without a blank', authorization(`Bearer ${good},Bearer ${other}`)],
  ['Bearer and Basic joined by a comma', authorization(`Bearer ${good}, Basic YTpi`)],
  ['Bearer and DPoP joined by a comma', authorization(`Bearer ${good}, DPoP ${good}`)],
]
const PROOF = 'eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.AA'

describe('attack 62: more than one credential', () => {
  test.each(SEVERAL)('%s are refused as auth_multiple with 400', async (_, message) => {
    const { decision } = await arena.pipeline.ask(message)
    expect(decision).toMatchObject({ reason: 'auth_multiple' })
    expect(denied(decision) && statusOf(decision)).toBe(400)
  })

  test.each([
    ['two proofs', [PROOF, PROOF], 'DPoP'],
    ['two proofs beside a bearer token', [PROOF, PROOF], 'Bearer'],
    ['a proof and an empty one', [PROOF, ''], 'Bearer'],
    ['two proofs joined by a comma', [`${PROOF}, ${PROOF}`], 'DPoP'],
    ['two proofs joined by a comma beside a bearer token', [`${PROOF},${PROOF}`], 'Bearer'],
  ])('%s are refused as dpop_multiple with 400', async (_, proofs, scheme) => {
    const lines = proofs.map((proof) => ['dpop', proof] as const)
    const { decision } = await arena.pipeline.ask(headers(['authorization', `${scheme} ${good}`], ...lines))
    expect(decision).toMatchObject({ reason: 'dpop_multiple' })
    expect(denied(decision) && statusOf(decision)).toBe(400)
  })

  test.each([
    ['one line', authorization(`Bearer ${good}`)],
    ['one line whose name is in capitals', headers(['AUTHORIZATION', `Bearer ${good}`])],
    [
      'one line among others',
      headers(['accept', '*/*'], ['Authorization', `Bearer ${good}`], ['x-request-id', 'a, b']),
    ],
    [
      'one line beside proxy credentials',
      headers(['proxy-authorization', 'Basic YTpi'], ['authorization', `Bearer ${good}`]),
    ],
  ])('%s is allowed', async (_, message) => {
    expect(await arena.pipeline.reason(message)).toBe('allow')
  })
})
