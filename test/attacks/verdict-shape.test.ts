import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseVerdict } from '../../sidecar/policy/verdict.ts'
import { openArena, tokenOf } from './arena.ts'

const WRONG = [
  'boolean',
  'upper',
  'extra',
  'missing',
  'contradiction',
  'groundless',
  'numbers',
  'object',
  'nullish',
  'reason',
  'entry',
  'true',
  'string',
  'array',
  'null',
  'empty',
].map((name) => `app:${name}`)
const token = tokenOf({ claims: { scope: ['app:fine', ...WRONG].join(' ') } })
const arena = await openArena({ policy: resolve(import.meta.dirname, '../policies/hostile/wrong-shape') })

const ALLOW = { effect: 'allow', allow: ['r'], deny: [] }
const DENY = { effect: 'deny', allow: [], deny: [{ rule: 'r', reason: 'not_owner', hide: false }] }
const TEXTS: readonly string[] = [
  '',
  'null',
  'true',
  '"allow"',
  '{}',
  '[null]',
  '[{}]',
  '[true]',
  '[{"result":true}]',
  '[{"result":"allow"}]',
  '[{"result":[]}]',
  '[[]]',
  '{"result":{}}',
  '[{"result":{"effect":"allow"}}]',
  '[{"result":{"allow":true}}]',
  '[{"allow":true}]',
  'allow',
  '[{"result":1}]',
  '[{"result":null}]',
]
const CHANGED: readonly (readonly [name: string, verdict: unknown])[] = [
  ['effect in capitals', { ...ALLOW, effect: 'ALLOW' }],
  ['effect with a blank', { ...ALLOW, effect: 'allow ' }],
  ['effect true', { ...ALLOW, effect: true }],
  ['a rule that is no text', { ...ALLOW, allow: [true] }],
  ['a rule without a name', { ...ALLOW, allow: [''] }],
  ['a rule with a newline', { ...ALLOW, allow: ['a\nb'] }],
  ['33 rules', { ...ALLOW, allow: Array.from({ length: 33 }, (_, index) => `r${index}`) }],
  ['rules as text', { ...ALLOW, allow: 'r' }],
  ['allow true', { ...ALLOW, allow: true }],
  ['no rules', { ...ALLOW, allow: [] }],
  ['no deny', { effect: 'allow', allow: ['r'] }],
  ['deny null', { ...ALLOW, deny: null }],
  ['deny false', { ...ALLOW, deny: false }],
  ['deny an object', { ...ALLOW, deny: {} }],
  ['a member too many', { ...ALLOW, note: '' }],
  ['a denial that is no object', { ...DENY, deny: ['r'] }],
  ['a denial with an unknown reason', { ...DENY, deny: [{ rule: 'r', reason: 'allowed', hide: false }] }],
  ['a denial without hide', { ...DENY, deny: [{ rule: 'r', reason: 'not_owner' }] }],
  ['a denial whose hide is text', { ...DENY, deny: [{ rule: 'r', reason: 'not_owner', hide: 'no' }] }],
  ['allowed although denied', { ...DENY, effect: 'allow', allow: ['r'] }],
  ['denied without a reason, although allowed', { ...ALLOW, effect: 'deny' }],
]

describe('a verdict of another shape than agreed', () => {
  test.each(WRONG)('%s from a policy is a denial as policy_fault', async (action) => {
    expect(await arena.verdict(token, { action })).toBe('policy_fault')
  })

  test('the agreed shape from the same policy is allowed', async () => {
    expect(await arena.verdict(token, { action: 'app:fine' })).toBe('allow')
  })

  test.each(TEXTS)('the text %j is a fault', (text) => {
    expect(() => parseVerdict(text)).toThrow(expect.objectContaining({ code: 'policy_fault' }))
  })

  test('no result at all is an undefined policy', () => {
    expect(() => parseVerdict('[]')).toThrow(expect.objectContaining({ code: 'policy_undefined' }))
  })

  test.each(CHANGED)('%s is a fault', (_, verdict) => {
    expect(() => parseVerdict(JSON.stringify([{ result: verdict }]))).toThrow(
      expect.objectContaining({ code: 'policy_fault' }),
    )
  })

  test('two results are a fault, whatever they say', () => {
    expect(() => parseVerdict(JSON.stringify([{ result: ALLOW }, { result: ALLOW }]))).toThrow()
    expect(() => parseVerdict(JSON.stringify([{ result: ALLOW }, {}]))).toThrow()
  })

  test('the agreed shape is read', () => {
    expect(parseVerdict(JSON.stringify([{ result: ALLOW }]))).toEqual(ALLOW)
    expect(parseVerdict(JSON.stringify([{ result: DENY }]))).toEqual(DENY)
    expect(parseVerdict(JSON.stringify([{ result: { effect: 'deny', allow: [], deny: [] } }])).effect).toBe(
      'deny',
    )
  })
})
