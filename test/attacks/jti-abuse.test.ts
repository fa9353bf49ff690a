import { describe, expect, test } from 'vitest'
import { createReplayMemory } from '../../sidecar/trust/replay.ts'
import { signingKey } from '../fixtures/keys.ts'
import { jktOf } from '../fixtures/proofs.ts'
import { type Call, judgesProofs, openDpopArena, type ProofAttack } from './dpop-arena.ts'

const arena = await openDpopArena()
const mallory = signingKey('ES256', 'mallory')
const asMallory = (jti: string): Call => ({
  token: { claims: { cnf: { jkt: jktOf(mallory) } } },
  proof: { key: mallory, jti },
})
const HOSTILE: readonly unknown[] = ['', 0, 1, true, null, [], ['a'], {}, { a: 'b' }]

describe("attack 65: ids that fill the memory, or that are somebody else's", () => {
  judgesProofs(
    arena,
    HOSTILE.map(
      (jti): ProofAttack => [
        `attack 65: jti ${JSON.stringify(jti)}`,
        { proof: { claims: { jti } } },
        'dpop_jti',
      ],
    ),
  )
  judgesProofs(arena, [
    ['attack 65: jti of 257 bytes', { proof: { jti: 'x'.repeat(257) } }, 'dpop_jti'],
    ['attack 65: jti of 3000 bytes', { proof: { jti: 'x'.repeat(3_000) } }, 'token_too_large'],
    ['attack 65: jti of 256 bytes', { proof: { jti: 'x'.repeat(256) } }, 'allow'],
    ['attack 65: a jti that is called __proto__', { proof: { jti: '__proto__' } }, 'allow'],
  ])

  test('attack 65: one client cannot use up the ids of another', async () => {
    expect(await arena.verdict(asMallory('the-next-id'))).toBe('allow')
    expect(await arena.verdict({ proof: { jti: 'the-next-id' } })).toBe('allow')
    expect(await arena.verdict(asMallory('the-next-id'))).toBe('dpop_replay')
    expect(await arena.verdict({ proof: { jti: 'the-next-id' } })).toBe('dpop_replay')
  })

  test('attack 65: ids that differ in a trailing byte, in case or in normalisation are different ids', async () => {
    const ids = ['id', 'id ', 'ID', 'é', 'e\u0301', '1:id', '2:id']
    for (const jti of ids) expect(await arena.verdict({ proof: { jti } })).toBe('allow')
    for (const jti of ids) expect(await arena.verdict({ proof: { jti } })).toBe('dpop_replay')
  })

  test("attack 65: a memory that was filled refuses, and forgets nobody's id", async () => {
    const full = await openDpopArena({ replica: { memory: createReplayMemory(() => 0, 2) } })
    expect(await full.verdict({ proof: { jti: 'a' } })).toBe('allow')
    expect(await full.verdict({ proof: { jti: 'b' } })).toBe('allow')
    expect(await full.verdict({ proof: { jti: 'c' } })).toBe('replay_store_unavailable')
    expect(await full.verdict({ proof: { jti: 'a' } })).toBe('dpop_replay')
    expect(await full.verdict({ token: {}, scheme: 'Bearer', proof: undefined })).toBe('allow')
  })
})
