import { describe, expect, test } from 'vitest'
import { relabelled, signingKey } from '../fixtures/keys.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import type { Stated } from '../sidecar/trust/beliefs.ts'
import { fedSnapshot } from '../sidecar/trust/fed-world.ts'
import { KEY, openFedArena, STATED } from './fed.ts'

// A key that was stolen: its provider goes on publishing it, every cache holds it, and its signatures are perfect.

const NEXT = signingKey('RS256', 'next')
const OTHER = 'https://other.test.example'

function revoking(
  generation: number,
  kids: readonly string[],
  stated: readonly Stated[] = [{ ...STATED, keys: [KEY, NEXT] }],
) {
  const snapshot = fedSnapshot(generation, stated)
  const issuers = snapshot.issuers.map((one) =>
    one.issuer === ISSUER ? { ...one, revokedKids: [...kids] } : one,
  )
  return { ...snapshot, issuers }
}

describe('004-34, 004-35: a revoked kid', () => {
  test('that is published, cached and in use is worth nothing from the next snapshot on', async () => {
    const arena = await openFedArena({ first: revoking(5, []) })
    expect(await arena.verdict({ key: KEY })).toBe('allow')
    expect(await arena.install(revoking(6, [KEY.kid]))).toMatchObject({ ok: true })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
  })

  test('says so before anybody looks at the signature', async () => {
    const arena = await openFedArena({ first: revoking(5, [KEY.kid]) })
    const forged = relabelled(signingKey('RS256', 'attacker'), { kid: KEY.kid })
    expect(await arena.verdict({ key: forged })).toBe('kid_revoked')
    expect(await arena.verdict({ key: forged, header: { kid: NEXT.kid } })).toBe('sig_invalid')
  })

  test('that is not published causes no fetch', async () => {
    let fetches = 0
    const refresh = () => async () => {
      fetches++
      return true
    }
    const arena = await openFedArena({ refresh, first: revoking(5, ['stolen'], [STATED]) })
    expect(await arena.verdict({ key: relabelled(KEY, { kid: 'stolen' }) })).toBe('kid_revoked')
    expect(fetches).toBe(0)
    expect(await arena.verdict({ key: relabelled(KEY, { kid: 'unknown' }) })).toBe('kid_unknown')
    expect(fetches).toBe(1)
  })

  test('under the same material and another name is another key: name all of them', async () => {
    const alias = relabelled(KEY, { kid: 'alias' })
    const arena = await openFedArena({ first: revoking(5, [KEY.kid], [{ ...STATED, keys: [KEY, alias] }]) })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
    expect(await arena.verdict({ key: alias })).toBe('allow')
  })

  test('of one issuer says nothing about another’s key of that name', async () => {
    const both = [STATED, { ...STATED, issuer: OTHER }]
    const arena = await openFedArena({ first: revoking(5, [KEY.kid], both) })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
    expect(await arena.verdict({ key: KEY, claims: { iss: OTHER } })).toBe('allow')
  })

  test.each(['RS256-1', 'rs256-1 ', 'rs256', '__proto__'])(
    '%j, which is not it, revokes nothing',
    async (kid) => {
      const arena = await openFedArena({ first: revoking(5, [kid]) })
      expect(await arena.verdict({ key: KEY })).toBe('allow')
    },
  )

  test('that is pushed as a revocation meets the cached key too, without a snapshot', async () => {
    const arena = await openFedArena({ first: revoking(5, []) })
    expect(await arena.verdict({ key: KEY })).toBe('allow')
    arena.revoke({ subject: { $case: 'kid', kid: KEY.kid } })
    expect(await arena.verdict({ key: KEY })).toBe('kid_revoked')
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
  })
})
