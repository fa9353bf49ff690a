import { sign } from 'node:crypto'
import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { base64url, goodClaims, goodHeader } from '../fixtures/tokens.ts'
import { AT_S, admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const key = signingKey()

// RFC 7797 section 3: the signature covers the payload as it is.
function unencoded(extra: Readonly<Record<string, unknown>>, payload: string, shown: string): string {
  const header = base64url(Buffer.from(JSON.stringify(goodHeader(key, extra))))
  const signature = sign('sha256', Buffer.from(`${header}.${payload}`), key.privateKey)
  return [header, shown, base64url(signature)].join('.')
}
const claims = JSON.stringify(goodClaims(AT_S))
const encoded = base64url(Buffer.from(claims))
const crit = { b64: false, crit: ['b64'] }

describe('attack 20: a payload that is not encoded (RFC 7797)', () => {
  refuses(arena, [
    ['b64 false without crit', { header: { b64: false } }, 'header_forbidden'],
    ['b64 false with crit', { header: crit }, 'header_forbidden'],
    [
      'b64 false over the claims as text, shown encoded',
      unencoded({ b64: false }, claims, encoded),
      'header_forbidden',
    ],
    [
      'b64 false with crit over the claims as text, shown encoded',
      unencoded(crit, claims, encoded),
      'header_forbidden',
    ],
    ['b64 null', { header: { b64: null } }, 'header_forbidden'],
    ['b64 0', { header: { b64: 0 } }, 'header_forbidden'],
    ['b64 "false"', { header: { b64: 'false' } }, 'header_forbidden'],
    ['the claims as text without any b64', unencoded({}, claims, claims), 'token_format'],
    ['a detached payload', unencoded(crit, claims, ''), 'token_format'],
  ])
  admits(arena, [
    ['an encoded payload', {}],
    ['a claim called b64', { claims: { b64: false } }],
  ])
})
