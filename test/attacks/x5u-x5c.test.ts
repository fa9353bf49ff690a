import { afterAll, describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses } from './arena.ts'
import { openListener } from './listener.ts'

const arena = await openArena()
const listener = await openListener()
afterAll(() => listener[Symbol.asyncDispose]())
const attacker = { ...signingKey('RS256', 'attacker'), kid: 'rs256-1' }
const der = attacker.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')

describe('attack 11: J8, Z10: a token that brings or points at a certificate chain', () => {
  refuses(arena, [
    ['x5u to the attacker', { key: attacker, header: { x5u: listener.url } }, 'header_forbidden'],
    ["x5c with the attacker's chain", { key: attacker, header: { x5c: [der, der] } }, 'header_forbidden'],
    ['an empty x5c', { key: attacker, header: { x5c: [] } }, 'header_forbidden'],
    ['x5c as text', { key: attacker, header: { x5c: der } }, 'header_forbidden'],
    ['x5c null', { key: attacker, header: { x5c: null } }, 'header_forbidden'],
    ['x5u and x5c on a genuine token', { header: { x5u: listener.url, x5c: [der] } }, 'header_forbidden'],
    ["a thumbprint of the attacker's certificate", { key: attacker, header: { x5t: 'AAAA' } }, 'sig_invalid'],
  ])
  admits(arena, [
    [
      'a genuine token with thumbprints, which choose nothing',
      { header: { x5t: 'AAAA', 'x5t#S256': 'BBBB' } },
    ],
  ])

  test('nobody was contacted', () => {
    expect(listener.contacts()).toBe(0)
  })
})
