import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { createFamilyMemory } from '../../../sidecar/grants/family-memory.ts'
import { MOST_ROTATIONS } from '../../../sidecar/grants/rotation.ts'
import {
  createGuard,
  type Guard,
  HOUR_MS,
  NOBODY,
  newToken,
  register,
  rotate,
  SUBJECT,
} from '../../fixtures/families.ts'

async function begun(binding?: Buffer): Promise<{ readonly guard: Guard; readonly first: Buffer }> {
  const guard = createGuard()
  const first = newToken()
  expect(await register(guard, 'grant', first, binding ? { binding } : {})).toBe('created')
  return { guard, first }
}

const hex = (text: string): string => Buffer.from(text).toString('hex')

describe('a family that is used as it should be', () => {
  test('002-01, O4: each refresh gives the next token and voids the one before', async () => {
    const { guard, first } = await begun()
    let current = first
    for (let turn = 0; turn < 5; turn++) {
      const next = newToken()
      expect(await rotate(guard, 'grant', current, { next })).toBe('rotated')
      current = next
    }
    expect(guard.revoked).toEqual([])
  })
  test('002-06: the age of the family is told at each redemption', async () => {
    const { guard, first } = await begun()
    guard.clock.at += HOUR_MS
    await rotate(guard, 'grant', first)
    expect(guard.events).toEqual([{ event: 'rotated', ageMs: HOUR_MS }])
  })
  test.each([
    [-1, 'rotated'],
    [0, 'expired'],
    [1, 'unknown'],
  ])(
    '002-07: %i ms from the end that it was registered with, whatever was rotated since',
    async (past, outcome) => {
      const { guard, first } = await begun()
      const next = newToken()
      await rotate(guard, 'grant', first, { next })
      guard.clock.at += 24 * HOUR_MS + past
      const answer = await rotate(guard, 'grant', next)
      // The memory forgets an expired family; until it does, it says so.
      expect(past === 0 ? ['expired', 'unknown'] : [outcome]).toContain(answer)
    },
  )
  test('two families that happen to share a token do not know each other', async () => {
    const { guard, first } = await begun()
    await register(guard, 'other', first)
    expect(await rotate(guard, 'other', first)).toBe('rotated')
    expect(await rotate(guard, 'grant', first)).toBe('rotated')
  })
  test('a family begins once', async () => {
    const { guard } = await begun()
    expect(await register(guard, 'grant', newToken())).toBe('exists')
  })
  test('who lost the answer may register again with the same token', async () => {
    const { guard, first } = await begun()
    expect(await register(guard, 'grant', first)).toBe('created')
    expect(await rotate(guard, 'grant', first)).toBe('rotated')
  })
})

describe('a used token comes again', () => {
  test('002-03, 002-04: the family ends, and the access tokens of its session with it', async () => {
    const { guard, first } = await begun()
    const second = newToken()
    await rotate(guard, 'grant', first, { next: second })
    expect(await rotate(guard, 'grant', first)).toBe('replay')
    expect(guard.revoked).toEqual([
      { whose: expect.objectContaining(SUBJECT), untilMs: guard.clock.at + 300_000 },
    ])
    expect(guard.events).toContainEqual(
      expect.objectContaining({ event: 'replay_detected', accessTokensRevoked: true }),
    )
    expect(await rotate(guard, 'grant', second)).toBe('revoked')
  })
  test('002-03: it may be any of them, not the last one only', async () => {
    const { guard, first } = await begun()
    let current = first
    for (let turn = 0; turn < 20; turn++) {
      const next = newToken()
      await rotate(guard, 'grant', current, { next })
      current = next
    }
    expect(await rotate(guard, 'grant', first)).toBe('replay')
    expect(await rotate(guard, 'grant', current)).toBe('revoked')
  })
  test('002-01: of a hundred at once one wins, and the family is dead', async () => {
    const { guard, first } = await begun()
    const nexts = Array.from({ length: 100 }, newToken)
    const outcomes = await Promise.all(nexts.map((next) => rotate(guard, 'grant', first, { next })))
    expect(outcomes.filter((outcome) => outcome === 'rotated')).toHaveLength(1)
    expect(new Set(outcomes)).toEqual(new Set(['rotated', 'replay']))
    expect(guard.revoked).toHaveLength(1)
    for (const next of nexts) expect(await rotate(guard, 'grant', next)).not.toBe('rotated')
  })
  test('000-23: a replay tells who both were, and who began, without a token', async () => {
    const [owner, ownerLater, thief] = [Buffer.from('owner'), Buffer.alloc(64, 0xab), Buffer.of(0xff)]
    const guard = createGuard()
    const tokens = [newToken(), newToken(), newToken()] as const
    await register(guard, 'grant', tokens[0], { fingerprint: owner })
    await rotate(guard, 'grant', tokens[0], { next: tokens[1], fingerprint: owner })
    // With and without a grace, within which the record of the token holds its successor, too.
    await rotate(guard, 'grant', tokens[1], { next: tokens[2], fingerprint: ownerLater, graceMs: 1 })
    guard.clock.at += 2
    await rotate(guard, 'grant', tokens[2], { fingerprint: owner })
    await rotate(guard, 'grant', tokens[1], { fingerprint: thief })
    const replays = guard.events.filter(({ event }) => event === 'replay_detected')
    expect(replays).toEqual([
      {
        event: 'replay_detected',
        accessTokensRevoked: true,
        family: createHash('sha256').update('grant').digest('hex'),
        registeredBy: owner.toString('hex'),
        usedBy: 'ab'.repeat(64),
        presentedBy: 'ff',
      },
    ])
  })
  test('000-23: the other of two users is the one who used that very token, first or last', async () => {
    const pairs: unknown[] = []
    for (const turn of [0, 1]) {
      const guard = createGuard()
      const tokens = [newToken(), newToken()] as const
      await register(guard, 'grant', tokens[0])
      await rotate(guard, 'grant', tokens[0], { next: tokens[1], fingerprint: Buffer.from('a') })
      await rotate(guard, 'grant', tokens[1], { fingerprint: Buffer.from('b') })
      await rotate(guard, 'grant', tokens[turn] ?? tokens[0], { fingerprint: Buffer.from('c') })
      pairs.push(guard.events.at(-2))
    }
    const seen = { registeredBy: '', presentedBy: hex('c') }
    expect(pairs).toMatchObject([
      { ...seen, usedBy: hex('a') },
      { ...seen, usedBy: hex('b') },
    ])
  })
  test('000-23: who lost a race is told together with who won it', async () => {
    const { guard, first } = await begun()
    await Promise.all(
      ['a', 'b'].map((who) => rotate(guard, 'grant', first, { fingerprint: Buffer.from(who) })),
    )
    const [replay] = guard.events.filter((event) => event.event === 'replay_detected')
    expect([replay?.usedBy, replay?.presentedBy].toSorted()).toEqual([hex('a'), hex('b')])
  })
  test('002-20: a theft is told in the order in which it happens', async () => {
    const { guard, first } = await begun()
    const second = newToken()
    // The user refreshes, the thief redeems what was stolen before, and the user comes with the token that was good until then.
    await rotate(guard, 'grant', first, { next: second })
    await rotate(guard, 'grant', first)
    await rotate(guard, 'grant', second)
    expect(guard.events).toEqual([
      { event: 'rotated', ageMs: 0 },
      expect.objectContaining({ event: 'replay_detected', accessTokensRevoked: true }),
      { event: 'refused', reason: 'replay' },
      { event: 'refused', reason: 'revoked' },
    ])
  })
  test('a replay that nobody could be told of still ends the family, and says so', async () => {
    const { guard, first } = await begun()
    const next = newToken()
    await rotate(guard, 'grant', first, { next })
    guard.reachable = false
    expect(await rotate(guard, 'grant', first)).toBe('replay')
    expect(guard.events).toContainEqual(
      expect.objectContaining({ event: 'replay_detected', accessTokensRevoked: false }),
    )
    expect(await rotate(guard, 'grant', next)).toBe('revoked')
  })
})

describe('what is no replay', () => {
  test('an unknown token changes nothing: guessing ends nobody else’s session', async () => {
    const { guard, first } = await begun()
    expect(await rotate(guard, 'grant', newToken())).toBe('unknown')
    expect(await rotate(guard, 'nobody', first)).toBe('unknown')
    expect(guard.revoked).toEqual([])
    expect(await rotate(guard, 'grant', first)).toBe('rotated')
  })
  test('the same question again has the same answer: the first answer may have been lost', async () => {
    const { guard, first } = await begun()
    const next = newToken()
    expect(await rotate(guard, 'grant', first, { next })).toBe('rotated')
    expect(await rotate(guard, 'grant', first, { next })).toBe('rotated')
    expect(await rotate(guard, 'grant', next)).toBe('rotated')
    // By now its successor has been used, so that it is the replay that it looks like.
    expect(await rotate(guard, 'grant', first, { next })).toBe('replay')
  })
})

describe('002-08, Z8: grace', () => {
  test.each([
    [0, 'replay'],
    [1, 'retry'],
    [30_000, 'retry'],
  ])('of %i ms: presented again at its end', async (graceMs, outcome) => {
    const { guard, first } = await begun()
    await rotate(guard, 'grant', first, { graceMs })
    guard.clock.at += graceMs
    expect(await rotate(guard, 'grant', first, { graceMs })).toBe(outcome)
  })
  test('one millisecond after its end it is a replay', async () => {
    const { guard, first } = await begun()
    await rotate(guard, 'grant', first, { graceMs: 10_000 })
    guard.clock.at += 10_001
    expect(await rotate(guard, 'grant', first, { graceMs: 10_000 })).toBe('replay')
  })
  test('gives the successor that was given then', async () => {
    const { guard, first } = await begun()
    const next = newToken()
    await rotate(guard, 'grant', first, { next, graceMs: 10_000 })
    const asked = {
      family: 'grant',
      presented: first,
      next: newToken(),
      graceMs: 10_000,
      binding: Buffer.alloc(0),
      fingerprint: Buffer.alloc(0),
    }
    expect(await guard.families.rotate(asked, NOBODY)).toMatchObject({ outcome: 'retry', successor: next })
  })
  test('ends with the use of the successor', async () => {
    const { guard, first } = await begun()
    const next = newToken()
    await rotate(guard, 'grant', first, { next, graceMs: 10_000 })
    await rotate(guard, 'grant', next, { graceMs: 10_000 })
    expect(await rotate(guard, 'grant', first, { graceMs: 10_000 })).toBe('replay')
  })
  test('is for whoever proves the same binding', async () => {
    const { guard, first } = await begun(Buffer.from('key of alice'))
    await rotate(guard, 'grant', first, { graceMs: 10_000, binding: Buffer.from('key of alice') })
    expect(
      await rotate(guard, 'grant', first, { graceMs: 10_000, binding: Buffer.from('key of mallory') }),
    ).toBe('replay')
  })
})

describe('binding', () => {
  test.each([
    ['the key it was registered with', 'key of alice', 'rotated'],
    ['another key', 'key of mallory', 'binding'],
    ['no key', '', 'binding'],
  ])('%s', async (_name, binding, outcome) => {
    const { guard, first } = await begun(Buffer.from('key of alice'))
    expect(await rotate(guard, 'grant', first, { binding: Buffer.from(binding) })).toBe(outcome)
    expect(guard.revoked).toEqual([])
  })
})

describe('Revoke', () => {
  test('with a token of the family: it and its access tokens end', async () => {
    const { guard, first } = await begun()
    expect(await guard.families.revoke('grant', { token: first }, NOBODY)).toEqual({
      accessTokensRevoked: true,
    })
    expect(guard.revoked).toMatchObject([{ whose: SUBJECT }])
    expect(await rotate(guard, 'grant', first)).toBe('revoked')
  })
  test('with a token of another family: this one ends, and nobody’s access tokens', async () => {
    const { guard, first } = await begun()
    expect(await guard.families.revoke('grant', { token: newToken() }, NOBODY)).toEqual({
      accessTokensRevoked: false,
    })
    expect(await rotate(guard, 'grant', first)).toBe('revoked')
  })
  test('of an unknown family: it can never begin', async () => {
    const { guard } = await begun()
    await guard.families.revoke('later', SUBJECT, NOBODY)
    expect(guard.revoked).toMatchObject([{ whose: SUBJECT }])
    expect(await register(guard, 'later', newToken())).toBe('exists')
  })
  test('nobody can be told: the caller learns that it is not done', async () => {
    const { guard } = await begun()
    guard.reachable = false
    expect(await guard.families.revoke('grant', SUBJECT, NOBODY)).toBeUndefined()
  })
})

describe('limits', () => {
  test('the memory begins no family beyond its limit, and again when one has expired', async () => {
    const guard = createGuard((now) => createFamilyMemory(now, 2))
    for (const family of ['a', 'b']) expect(await register(guard, family, newToken())).toBe('created')
    expect(await register(guard, 'c', newToken())).toBe('full')
    guard.clock.at += 24 * HOUR_MS
    expect(await register(guard, 'c', newToken())).toBe('created')
  })
  test(`after ${MOST_ROTATIONS} rotations the user signs in again`, async () => {
    const { guard, first } = await begun()
    let current = first
    for (let turn = 0; turn < MOST_ROTATIONS; turn++) {
      const next = newToken()
      expect(await rotate(guard, 'grant', current, { next })).toBe('rotated')
      current = next
    }
    expect(await rotate(guard, 'grant', current)).toBe('reauthenticate')
  })
})
