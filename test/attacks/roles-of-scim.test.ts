import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { openPipeline } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { forge } from '../fixtures/tokens.ts'

// RFC 9068 section 2.2.3.1: roles are plain values or SCIM's complex ones. Nothing else may pass for a role.

const key = signingKey('RS256')
const pipeline = await openPipeline({ issuers: [{ keys: [key] }] })
const refund = (roles: unknown) =>
  pipeline.reason(
    question({ token: forge({ key, claims: { roles } }), action: 'invoice:refund', request: { amount: 10 } }),
  )

describe('roles', () => {
  test.each([
    ['plain', ['billing'], 'allow'],
    ['complex', [{ value: 'billing', display: 'Billing' }], 'allow'],
    ['mixed', ['reader', { value: 'billing' }], 'allow'],
    ['complex, but another', [{ value: 'reader' }], 'role_missing'],
    ['the role as display name only', [{ display: 'billing' }], 'claim_invalid'],
    ['the role as a member name', [{ billing: true }], 'claim_invalid'],
    ['a value that is a list', [{ value: ['billing'] }], 'claim_invalid'],
    ['text instead of a list', 'billing', 'claim_invalid'],
    ['one complex value instead of a list', { value: 'billing' }, 'claim_invalid'],
  ])('%s: %j', async (_name, roles, want) => {
    expect(await refund(roles)).toBe(want)
  })
})
