import { describe, expect, test, vi } from 'vitest'
import { openArena, tokenOf, trusting } from '../attacks/arena.ts'
import { type Alg, signingKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { PATIENT_MS } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const keys = (['RS256', 'PS256', 'ES256', 'ES384', 'Ed25519'] as const).map((alg: Alg) => signingKey(alg))
const arena = await openArena(trusting(...keys))

// The header line as bytes, so that every flip is possible, also those that are no text.
async function verdictOfLine(line: Buffer): Promise<string> {
  return arena.pipeline.reason({ ...question(), headers: [{ name: 'authorization', value: line }] })
}

async function allowedFlips(line: Buffer, from: number): Promise<readonly string[]> {
  const allowed: string[] = []
  for (let at = from; at < line.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const flipped = Buffer.from(line)
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at)
      if ((await verdictOfLine(flipped)) === 'allow') allowed.push(`bit ${bit} of byte ${at}`)
    }
  }
  return allowed
}

describe('one bit of a genuine token turned over', () => {
  test.each(keys.map((key) => [key.alg, key] as const))(
    'is never allowed, whichever bit it is: %s',
    async (_, key) => {
      const line = Buffer.from(`Bearer ${tokenOf({ key })}`)
      expect(await verdictOfLine(line)).toBe('allow')
      expect(await allowedFlips(line, 'Bearer '.length)).toEqual([])
    },
  )

  test('in the scheme, only its upper and lower case is ignored', async () => {
    const line = Buffer.from(`Bearer ${tokenOf({})}`)
    const scheme = Buffer.concat([line.subarray(0, 7)])
    const flips = await Promise.all(
      [...scheme].flatMap((byte, at) =>
        Array.from({ length: 8 }, async (__, bit) => {
          const flipped = Buffer.from(line)
          flipped.writeUInt8(byte ^ (1 << bit), at)
          return { bit, letter: at < 6, verdict: await verdictOfLine(flipped) }
        }),
      ),
    )
    const CASE_BIT = 5
    for (const { bit, letter, verdict } of flips) expect(verdict === 'allow').toBe(letter && bit === CASE_BIT)
  })

  test('a byte left out, put in or doubled is never allowed either', async () => {
    const line = Buffer.from(`Bearer ${tokenOf({ key: signingKey('ES256') })}`)
    const allowed: string[] = []
    for (let at = 7; at <= line.length; at++) {
      const head = line.subarray(0, at)
      const tail = line.subarray(at)
      const changed = {
        without: [head, tail.subarray(1)],
        zero: [head, Buffer.alloc(1), tail],
        A: [head, Buffer.from('A'), tail],
      }
      for (const [name, parts] of Object.entries(changed)) {
        const text = Buffer.concat(parts)
        if (!text.equals(line) && (await verdictOfLine(text)) === 'allow') allowed.push(`${name} at ${at}`)
      }
    }
    expect(allowed).toEqual([])
  })
})
