import { describe, expect, test } from 'vitest'
import { MAX_TOKEN_BYTES } from '../../sidecar/token/jwt.ts'
import { admits, openArena, refuses, tokenOf } from './arena.ts'

const arena = await openArena()

// A genuine token of exactly this many bytes: filled up in the claims, and the last bytes in the header.
function tokenOfSize(bytes: number): string {
  for (let inHeader = 1; inHeader < 12; inHeader++) {
    let inClaims = Math.floor((bytes - 1_000) * 0.7)
    for (let step = 0; step < 60; step++) {
      const claims = { jti: 'one', pad: 'x'.repeat(inClaims) }
      const token = tokenOf({ header: { pad: 'y'.repeat(inHeader) }, claims })
      if (token.length === bytes) return token
      inClaims += Math.ceil((bytes - token.length) * 0.75) || -1
    }
  }
  throw new Error(`no token of ${bytes} bytes`)
}

describe('attack 24: 001-03: a token larger than 8 KiB', () => {
  refuses(arena, [
    ['a genuine token one byte too large', tokenOfSize(MAX_TOKEN_BYTES + 1), 'token_too_large'],
    ['a genuine token of 12,000 bytes', tokenOfSize(12_000), 'token_too_large'],
    ['9,000 characters that are no token', '!'.repeat(9_000), 'token_too_large'],
    ['9,000 dots', '.'.repeat(9_000), 'token_too_large'],
    ['8 KiB of dots', '.'.repeat(MAX_TOKEN_BYTES), 'token_format'],
    ['8 KiB of one letter', 'a'.repeat(MAX_TOKEN_BYTES), 'token_format'],
    ['a value larger than a header may be', 'a'.repeat(16 * 1024), 'request_invalid'],
  ])
  admits(arena, [
    ['a genuine token of the largest size', tokenOfSize(MAX_TOKEN_BYTES)],
    ['a genuine token one byte smaller', tokenOfSize(MAX_TOKEN_BYTES - 1)],
  ])

  test('the size is that of the token, not of the header line', async () => {
    const token = tokenOfSize(MAX_TOKEN_BYTES)
    expect(await arena.verdict(token, { authorization: [`bearer ${token}`] })).toBe('allow')
  })
})
