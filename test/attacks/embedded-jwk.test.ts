import { describe } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { admits, openArena, refuses } from './arena.ts'

const arena = await openArena()
const honest = signingKey()
const attacker = signingKey('RS256', 'attacker')
const named = { ...attacker, kid: honest.kid }

describe('attack 9: J8: a token that brings its own key (CVE-2018-0114)', () => {
  refuses(arena, [
    [
      "the attacker's key under an unknown kid",
      { key: attacker, header: { jwk: attacker.jwk } },
      'header_forbidden',
    ],
    [
      "the attacker's key under a known kid",
      { key: named, header: { jwk: attacker.jwk } },
      'header_forbidden',
    ],
    [
      "the attacker's key without a kid",
      { key: attacker, header: { jwk: attacker.jwk, kid: undefined } },
      'header_forbidden',
    ],
    [
      "the attacker's private key",
      { key: named, header: { jwk: attacker.privateKey.export({ format: 'jwk' }) } },
      'header_forbidden',
    ],
    ["the issuer's own key, genuinely signed", { header: { jwk: honest.jwk } }, 'header_forbidden'],
    ['jwk null', { header: { jwk: null } }, 'header_forbidden'],
    ['jwk as text', { header: { jwk: JSON.stringify(attacker.jwk) } }, 'header_forbidden'],
    [
      'jwk behind an escape',
      { headerText: '{"alg":"RS256","typ":"at+jwt","kid":"rs256-1","j\\u0077k":{}}' },
      'header_forbidden',
    ],
    ["the attacker's key without a jwk", { key: named }, 'sig_invalid'],
    [
      'a whole set in the header',
      { key: named, header: { keys: [attacker.jwk], jwks: { keys: [attacker.jwk] } } },
      'sig_invalid',
    ],
  ])
  admits(arena, [
    ['a genuine token', {}],
    ['a header member that only sounds like it', { header: { JWK: attacker.jwk, 'x-jwk': 1 } }],
  ])
})
