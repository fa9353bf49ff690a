import { describe, expect, test } from 'vitest'
import { denied } from '../../sidecar/decision.ts'
import { question } from '../fixtures/question.ts'
import { forge } from '../fixtures/tokens.ts'
import { AT_S, openArena } from './arena.ts'

const arena = await openArena()

function chain(length: number): object {
  let act: object = { sub: `actor-${length}` }
  for (let at = length - 1; at >= 1; at--) act = { sub: `actor-${at}`, act }
  return act
}

describe('attack 85: chains of actors', () => {
  // What is deeper than any token may be is not read at all, and what is larger than a question is no question.
  test.each([
    [9, 'claim_invalid'],
    [12, 'claim_invalid'],
    [100, 'json_depth'],
    [1_000, 'request_invalid'],
  ])('attack 85: E3: a chain of %i is refused as %s', async (length, reason) => {
    expect(await arena.verdict({ claims: { act: chain(length) } })).toBe(reason)
  })

  test.each([1, 2, 8])('attack 85: E3: a chain of %i is allowed', async (length) => {
    expect(await arena.verdict({ claims: { act: chain(length) } })).toBe('allow')
  })

  test.each([
    ['text', 'admin'],
    ['null', null],
    ['a list', [{ sub: 'admin' }]],
    ['nobody', {}],
    ['a number', { sub: 1 }],
    ['empty text', { sub: '' }],
    ['an issuer that is no text', { sub: 'admin', iss: {} }],
    ['a second actor that is none', { sub: 'gateway', act: 'admin' }],
  ])('attack 85: an actor that is %s is refused', async (_name, act) => {
    expect(await arena.verdict({ claims: { act } })).toBe('claim_invalid')
  })

  test('attack 85: E3: E4: only the outermost actor is the current one; an inner one is history', async () => {
    const act = { sub: 'gateway', iss: 'https://idp.test.example', act: { sub: 'alice-admin' } }
    const { principal, decision } = await arena.pipeline.ask(
      question({ token: forge({ at: AT_S, claims: { act } }) }),
    )
    expect(denied(decision)).toBe(false)
    expect(principal?.actors).toEqual([
      { subject: 'gateway', issuer: 'https://idp.test.example' },
      { subject: 'alice-admin' },
    ])
    expect(principal?.subject).toBe('alice')
  })
})
