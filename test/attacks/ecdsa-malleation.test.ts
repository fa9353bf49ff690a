import { describe, expect, test } from 'vitest'
import { signerOf, signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { admits, openArena, tokenOf, trusting } from './arena.ts'
import { CURVE, CURVE_ALGS, numbersOf, pair } from './curves.ts'

const arena = await openArena(trusting(...CURVE_ALGS.map((alg) => signingKey(alg))))

describe('attack 28: the second signature (r, n - s) that every ECDSA signature has', () => {
  test.each(CURVE_ALGS)('it is genuine under %s, and the caller is the same one', async (alg) => {
    const key = signingKey(alg)
    const jti = `one-${alg}`
    const token = tokenOf({ key, claims: { jti } })
    const [header = '', payload = '', signature = ''] = token.split('.')
    const [r, s] = numbersOf(alg, Buffer.from(signature, 'base64url'))
    const twin = [header, payload, pair(alg, r, CURVE[alg].order - s).toString('base64url')].join('.')
    expect(twin).not.toBe(token)
    const [first, second] = await Promise.all(
      [token, twin].map((one) => arena.pipeline.ask(question({ token: one }))),
    )
    expect(second?.decision).toEqual(first?.decision)
    expect(second?.principal).toEqual(first?.principal)
    expect(second?.principal?.jti).toBe(jti)
  })

  admits(
    arena,
    CURVE_ALGS.flatMap((alg) => {
      const key = signingKey(alg)
      const { bytes } = CURVE[alg]
      const withZero = (at: number) => (input: Buffer) => {
        for (;;) {
          const signature = signerOf(key)(input)
          // The first byte of a P-521 coordinate is 0 or 1 anyway: look at the next.
          const first = alg === 'ES512' ? signature.readUInt16BE(at) >> 1 : signature[at]
          if (first === 0) return signature
        }
      }
      return [
        [`an ${alg} signature whose r begins with a zero byte`, { key, sign: withZero(0) }] as const,
        [`an ${alg} signature whose s begins with a zero byte`, { key, sign: withZero(bytes) }] as const,
      ]
    }),
  )
})
