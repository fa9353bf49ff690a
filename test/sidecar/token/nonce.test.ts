// Nonces: nothing stored, nothing guessed, nobody else's (RFC 9449 section 9).
import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createNonces, NONCE_LIFE_S, NONCE_SECRET_BYTES } from '../../../sidecar/token/nonce.ts'

const AT = 1_790_000_000_250
const END = (Math.floor(AT / 1000) + NONCE_LIFE_S) * 1000
const nonces = createNonces(randomBytes(NONCE_SECRET_BYTES))
const nonce = nonces.fresh(AT)

describe('P9: a nonce of this replica', () => {
  test.each([
    ['at once', AT, END],
    ['a millisecond before its end', END - 1, END],
    ['at its end', END, undefined],
    ['long after', END + 60_000, undefined],
  ])('P9, D11: %s', (_, at, want) => {
    expect(nonces.validUntil(nonce, at)).toBe(want)
  })

  test('P9: has only characters that a header and a claim may have (RFC 9449 section 8.1)', () => {
    expect(nonce).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]+$/)
    expect(nonce.length).toBeLessThan(64)
  })

  test('P9: is another one each second, and the same within it', () => {
    expect(nonces.fresh(AT + 600)).toBe(nonce)
    expect(nonces.fresh(AT + 1_000)).not.toBe(nonce)
    expect(nonces.fresh(AT)).toBe(nonce)
  })

  test('P9: of another replica, of the same replica before a restart, or with half of its secret, is none', () => {
    const secret = randomBytes(NONCE_SECRET_BYTES)
    const sameKey = Buffer.from(secret)
    sameKey.fill(7, NONCE_SECRET_BYTES - 8)
    const sameName = Buffer.from(secret)
    sameName.fill(7, 0, 8)
    const mine = createNonces(secret).fresh(AT)
    for (const other of [nonces, createNonces(sameKey), createNonces(sameName)])
      expect(other.validUntil(mine, AT)).toBeUndefined()
    expect(createNonces(secret).validUntil(mine, AT)).toBe(END)
  })

  test('P9: altered in any one character, is none', () => {
    for (let index = 0; index < nonce.length; index++) {
      const altered = `${nonce.slice(0, index)}${nonce[index] === 'A' ? 'B' : 'A'}${nonce.slice(index + 1)}`
      expect(nonces.validUntil(altered, AT)).toBeUndefined()
    }
  })

  test('P9: that promises itself a longer life, is none', () => {
    const [version, replica, expiry, mac] = nonce.split('.')
    for (const longer of [Number(expiry) + 1, Number(expiry) * 10, `0${expiry}`, `${expiry}0`])
      expect(nonces.validUntil(`${version}.${replica}.${longer}.${mac}`, AT)).toBeUndefined()
  })

  test.each([
    '',
    'v1',
    'v1...',
    'v2.a.1.b',
    nonce.toUpperCase(),
    `${nonce} `,
    ` ${nonce}`,
    `${nonce}.`,
    'x'.repeat(5_000),
  ])('P9: %j is none', (text) => {
    expect(nonces.validUntil(text, AT)).toBeUndefined()
  })

  test('P9: is not made of too little chance', () => {
    expect(() => createNonces(randomBytes(8))).toThrow(RangeError)
  })
})
