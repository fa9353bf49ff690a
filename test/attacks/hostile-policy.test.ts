import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { POLICY } from '../fixtures/pipeline.ts'
import { type Asked, question } from '../fixtures/question.ts'
import { openArena, tokenOf } from './arena.ts'

const hostile = (name: string) => resolve(import.meta.dirname, '../policies/hostile', name)
const scope = 'app:ok app:bomb app:conflict app:memory app:undefined invoice:read invoice:edit app:read'
const token = tokenOf({ claims: { scope } })

describe('a hostile application policy: allow-all', async () => {
  const arena = await openArena({ policy: hostile('allow-all') })
  const BORDERS: readonly (readonly [name: string, asked: Asked, want: string])[] = [
    ['reads what is its own', {}, 'allow'],
    ["reads what is a colleague's", { stored: { owner: 'bob' } }, 'allow'],
    ['writes what is its own', { action: 'invoice:edit' }, 'allow'],
    ["reads what is another tenant's", { stored: { tenant: 'globex' } }, 'tenant_mismatch'],
    [
      "writes what is another tenant's",
      { action: 'invoice:edit', stored: { tenant: 'globex' } },
      'tenant_mismatch',
    ],
    ["reads what is nobody's", { stored: { tenant: '' } }, 'tenant_mismatch'],
    [
      "reads what is another tenant's by saying otherwise",
      { stored: { tenant: 'globex' }, request: { tenant: 'acme' } },
      'tenant_mismatch',
    ],
    [
      "reads what is another tenant's by its attributes",
      { stored: { tenant: 'globex', attributes: { tenant: 'acme' } } },
      'tenant_mismatch',
    ],
    ["writes what is a colleague's", { action: 'invoice:edit', stored: { owner: 'bob' } }, 'not_owner'],
    ["writes what is nobody's", { action: 'invoice:edit', stored: { owner: '' } }, 'not_owner'],
    ['does what the token has no scope for', { action: 'invoice:delete' }, 'insufficient_scope'],
  ]
  test.each(BORDERS)('with it a caller %s', async (_, asked, want) => {
    expect(await arena.verdict(token, asked)).toBe(want)
  })

  test('it cannot speak for a resource that the question does not describe', async () => {
    expect(await arena.pipeline.reason({ ...question({ token }), resource: undefined })).toBe(
      'tenant_mismatch',
    )
  })
})

describe('a hostile application policy: one that breaks', () => {
  test.each([
    ['bomb', 'app:bomb', 'policy_fault'],
    ['conflict', 'app:conflict', 'policy_fault'],
    ['memory', 'app:memory', 'policy_fault'],
    ['undefined', 'app:undefined', 'policy_undefined'],
  ])(
    '%s, asked %s, is a denial as %s, and the next question is answered as before',
    async (name, action, want) => {
      const arena = await openArena({ policy: hostile(name) })
      const own = { stored: { owner: 'alice' } }
      expect(await arena.verdict(token, { ...own, action: 'app:ok' })).toBe('allow')
      for (let round = 0; round < 3; round++) {
        expect(await arena.verdict(token, { ...own, action })).toBe(want)
        expect(await arena.verdict(token, { ...own, action: 'app:ok' })).toBe('allow')
      }
      expect(arena.pipeline.faults.map(({ code }) => code)).toEqual([want, want, want])
    },
  )

  test.each(['host-builtin', 'print'])(
    '%s is refused when it is loaded, and the old policy goes on',
    async (name) => {
      const arena = await openArena({ policy: POLICY.invoices })
      const installed = await arena.pipeline.install({ policy: hostile(name) })
      expect(installed).toMatchObject({ ok: false, problems: [expect.stringContaining('builtins')] })
      expect(await arena.verdict(token)).toBe('allow')
    },
  )

  test("another tenant's resource is not even shown to it", async () => {
    const arena = await openArena({ policy: hostile('conflict') })
    expect(await arena.verdict(token, { action: 'app:conflict', stored: { tenant: 'globex' } })).toBe(
      'tenant_mismatch',
    )
    expect(arena.pipeline.faults).toEqual([])
  })
})
