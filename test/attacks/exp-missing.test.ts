import { describe } from 'vitest'
import { AT_S, admits, openArena, refuses } from './arena.ts'

const arena = await openArena()

describe('attack 49: A2, 001-22, 004-17: claims that are not there', () => {
  refuses(arena, [
    ['no exp', { claims: { exp: undefined } }, 'exp_missing'],
    ['exp in capitals', { claims: { exp: undefined, EXP: AT_S + 300 } }, 'exp_missing'],
    ['exp in the header', { header: { exp: AT_S + 300 }, claims: { exp: undefined } }, 'exp_missing'],
    ['expires_in in place of exp', { claims: { exp: undefined, expires_in: 300 } }, 'exp_missing'],
    ['no iat', { claims: { iat: undefined } }, 'iat_missing'],
    ['no sub', { claims: { sub: undefined } }, 'claim_missing'],
    ['no client_id', { claims: { client_id: undefined } }, 'claim_missing'],
    ['azp in place of client_id', { claims: { client_id: undefined, azp: 'test-web' } }, 'claim_missing'],
    ['no jti', { claims: { jti: undefined } }, 'claim_missing'],
    ['an empty sub', { claims: { sub: '' } }, 'claim_invalid'],
    ['a sub that is a number', { claims: { sub: 1 } }, 'claim_invalid'],
    ['a sub that is a list', { claims: { sub: ['alice'] } }, 'claim_invalid'],
    ['a sub that is null', { claims: { sub: null } }, 'claim_invalid'],
    ['a sub of 257 characters', { claims: { sub: 's'.repeat(257) } }, 'claim_invalid'],
    ['an empty client_id', { claims: { client_id: '' } }, 'claim_invalid'],
    ['an empty jti', { claims: { jti: '' } }, 'claim_invalid'],
    ['a jti of 257 characters', { claims: { jti: 'j'.repeat(257) } }, 'claim_invalid'],
    ['a scope that is a list', { claims: { scope: ['invoice:read'] } }, 'claim_invalid'],
    ['a scope with two spaces', { claims: { scope: 'invoice:read  invoice:edit' } }, 'claim_invalid'],
    ['a scope with a tab', { claims: { scope: 'invoice:read\tinvoice:edit' } }, 'claim_invalid'],
    ['a scope with a quote', { claims: { scope: 'invoice:"read"' } }, 'claim_invalid'],
    ['roles as text', { claims: { roles: 'admin' } }, 'claim_invalid'],
    ['roles with a number', { claims: { roles: ['billing', 1] } }, 'claim_invalid'],
    ['no scope', { claims: { scope: undefined } }, 'insufficient_scope'],
    ['an empty scope', { claims: { scope: '' } }, 'insufficient_scope'],
  ])
  admits(arena, [
    ['all of them', {}],
    ['no roles', { claims: { roles: undefined } }],
    ['a jti of 256 characters', { claims: { jti: 'j'.repeat(256) } }],
    ['one scope', { claims: { scope: 'invoice:read' } }],
  ])
})
