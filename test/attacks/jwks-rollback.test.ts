import { describe, expect, test } from 'vitest'
import { signingKey } from '../fixtures/keys.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { fedSnapshot } from '../sidecar/trust/fed-world.ts'
import { KEY, openFedArena, STATED } from './fed.ts'

// A key was stolen and withdrawn. Then somebody who stands between issuer and operator, or an old copy in some cache, serves the key set
// of before once more: it is perfectly signed, by everything but time.

const NEXT = signingKey('RS256', 'next')
const before = { ...STATED, keys: [KEY] }
const after = { ...STATED, keys: [NEXT] }

describe('attack 79: the key set of before, once more', () => {
  test('under its old number is refused, and changes nothing', async () => {
    const arena = await openFedArena({ first: fedSnapshot(5, [before]), refresh: () => async () => true })
    expect(await arena.verdict({ key: KEY })).toBe('allow')
    expect(await arena.install(fedSnapshot(6, [after]))).toMatchObject({ ok: true })
    expect(await arena.verdict({ key: KEY })).toBe('kid_unknown')
    for (const generation of [5, 6]) {
      const again = await arena.install(fedSnapshot(generation, [before]))
      expect(again).toMatchObject({ ok: false })
    }
    expect(await arena.verdict({ key: KEY })).toBe('kid_unknown')
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
  })

  test('under a new number, as an operator that was deceived gives it: a kid that was revoked stays revoked', async () => {
    const arena = await openFedArena({ first: fedSnapshot(5, [before]), refresh: () => async () => true })
    expect(arena.revoke({ subject: { $case: 'kid', kid: KEY.kid } })).toMatchObject({ ok: true })
    expect(await arena.install(fedSnapshot(6, [after]))).toMatchObject({ ok: true })
    expect(await arena.install(fedSnapshot(7, [before]))).toMatchObject({ ok: true })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
    // Nor by a full set of another operator that knows less.
    arena.believe.greet()
    arena.believe.revoke({ base: 0, head: 1, entries: [], removed: [] })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
  })

  test('with a later term for keys that are not those in use: only what is in use lives longer', async () => {
    const arena = await openFedArena({ first: fedSnapshot(5, [before]), refresh: () => async () => true })
    await arena.install(fedSnapshot(6, [after]))
    await arena.believe.freshen({
      terms: [{ issuer: ISSUER, notAfterMs: arena.now() + 900_000 }],
    })
    expect(await arena.verdict({ key: KEY })).toBe('kid_unknown')
  })
})
