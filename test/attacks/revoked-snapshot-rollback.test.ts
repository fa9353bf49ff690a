import { describe, expect, test } from 'vitest'
import type { Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { signingKey } from '../fixtures/keys.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { issuerMessage, policyMessage } from '../sidecar/trust/beliefs.ts'
import { fedSnapshot, withheldSnapshot } from '../sidecar/trust/fed-world.ts'
import { message } from '../sidecar/trust/revocation-world.ts'
import { KEY, openFedArena, STATED } from './fed.ts'

// An operator whose database was restored, or who was taken over, tells yesterday's truth: stolen keys believed again,
// revocations gone. A sidecar that knows better stays with what it knows.

const EDITED = await readBundle(POLICY.edited)
const NEXT = signingKey('RS256', 'next')

async function afterRotation() {
  const arena = await openFedArena()
  expect(await arena.install(fedSnapshot(8, [{ ...STATED, keys: [NEXT] }]))).toMatchObject({ ok: true })
  arena.revoke({ subject: { $case: 'sub', sub: 'mallory' } })
  return arena
}

describe('attack 79: yesterday’s snapshot', () => {
  test.each<readonly [what: string, snapshot: Snapshot]>([
    ['of an older generation', fedSnapshot(5, [STATED])],
    ['under today’s generation', fedSnapshot(8, [STATED])],
    ['of generation 0', fedSnapshot(0, [STATED])],
    ['that withheld everything', withheldSnapshot(7, 'yesterday')],
    ['with a policy of nobody', fedSnapshot(9, [STATED], { policy: policyMessage(EDITED) })],
    ['without leases', withoutLeases(fedSnapshot(9, [STATED]))],
  ])('%s brings nothing back', async (_what, snapshot) => {
    const arena = await afterRotation()
    expect(await arena.install(snapshot)).toMatchObject({ ok: false })
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
    expect(await arena.verdict({ key: KEY })).not.toBe('allow')
    expect(arena.believe.held().generation).toBeGreaterThanOrEqual(8)
  })

  test('as a delta on another one brings nothing back', async () => {
    const arena = await afterRotation()
    const delta = {
      removedIssuers: [],
      profile: undefined,
      policy: undefined,
      issuers: [issuerMessage(STATED)],
    }
    for (const [baseGeneration, generation] of [
      [5, 6],
      [5, 9],
      [8, 8],
      [8, 7],
      [9, 10],
    ] as const) {
      const amended = await arena.believe.amend({ ...delta, baseGeneration, generation }, () => undefined)
      expect(amended).toMatchObject({ ok: false })
    }
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
  })

  test('does not end what today’s withholds', async () => {
    const arena = await afterRotation()
    await arena.install(withheldSnapshot(9, 'two AccessPolicies'))
    for (const generation of [8, 9]) {
      expect(await arena.install(fedSnapshot(generation, [STATED]))).toMatchObject({ ok: false })
      expect(await arena.verdict({ key: KEY })).toBe('not_ready')
    }
    expect(await arena.install(fedSnapshot(10, [STATED]))).toMatchObject({ ok: true })
    expect(await arena.verdict({ key: KEY })).toBe('allow')
  })
})

describe('a snapshot of the last generation that there can be', () => {
  test.each<readonly [what: string, snapshot: (generation: number) => Snapshot]>([
    ['with other keys', (generation) => fedSnapshot(generation, [STATED])],
    ['that withholds everything', (generation) => withheldSnapshot(generation, 'for ever')],
  ])('%s does not block those that follow', async (_what, snapshot) => {
    const arena = await afterRotation()
    for (const generation of [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1, 2 ** 41]) {
      const installed = await arena.install(snapshot(generation))
      expect(installed).toEqual({ ok: false, problems: [expect.stringContaining('too far ahead of 8')] })
    }
    expect(await arena.verdict({ key: NEXT })).toBe('allow')
    expect(await arena.install(fedSnapshot(9, [STATED]))).toMatchObject({ ok: true })
    expect(await arena.verdict({ key: KEY })).toBe('allow')
  })

  test('as a delta blocks nothing either', async () => {
    const arena = await afterRotation()
    const delta = { removedIssuers: [], profile: undefined, policy: undefined, issuers: [] }
    const last = { ...delta, baseGeneration: 8, generation: Number.MAX_SAFE_INTEGER }
    expect(await arena.believe.amend(last, () => undefined)).toMatchObject({ ok: false })
    expect(arena.believe.held().generation).toBe(8)
    expect(await arena.believe.amend({ ...last, generation: 9 }, () => undefined)).toMatchObject({ ok: true })
  })
})

describe('yesterday’s revocations', () => {
  const mallory = { claims: { sub: 'mallory' } }
  test.each([
    ['an empty log', message(0, 0)],
    ['an older full set', message(0, 9)],
    ['a difference from an older head', message(9, 12, [], ['r-1'])],
    ['a difference from a head that never was', message(99, 100, [], ['r-1'])],
  ])('%s gives nobody back what was taken', async (_what, told) => {
    const arena = await openFedArena()
    arena.revoke({ id: 'r-1', subject: { $case: 'sub', sub: 'mallory' } })
    const { head } = arena.revocations
    arena.believe.revoke(told)
    expect(await arena.verdict(mallory)).toBe('revoked_sub')
    expect(arena.revocations.head).toBe(head)
  })

  test('control: lifted by today’s log, it is lifted', async () => {
    const arena = await openFedArena()
    const stored = { stored: { owner: 'mallory' } }
    arena.revoke({ id: 'r-1', subject: { $case: 'sub', sub: 'mallory' } })
    expect(await arena.verdict(mallory, stored)).toBe('revoked_sub')
    arena.believe.revoke(message(11, 12, [], ['r-1']))
    expect(await arena.verdict(mallory, stored)).toBe('allow')
  })
})

function withoutLeases(snapshot: Snapshot): Snapshot {
  return { ...snapshot, profile: snapshot.profile && { ...snapshot.profile, leases: undefined, routes: [] } }
}
