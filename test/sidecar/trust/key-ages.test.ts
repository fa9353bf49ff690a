// 001-19: providers publish a key a day or two before it signs. One that signs minutes after it was first seen is counted, once.
import { beforeEach, describe, expect, test } from 'vitest'
import { createKeyAges, EARLY_MS, type KeyAges } from '../../../sidecar/trust/key-ages.ts'
import { type SigningKey, signingKey } from '../../fixtures/keys.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { openTrust, type Trust } from './beliefs.ts'

const [OLD, NEW, THIRD] = [
  signingKey('RS256', 'old'),
  signingKey('RS256', 'new'),
  signingKey('ES256', 'third'),
]
let clock: number
let ages: KeyAges
let trust: Trust
beforeEach(() => {
  clock = 0
  ages = createKeyAges(() => clock)
  trust = openTrust(ages.seen)
})
const publish = (...keys: readonly SigningKey[]) => trust.state({ keys })
const used = (kid: string, afterMs = 0): number | undefined => {
  clock += afterMs
  ages.used(ISSUER, kid)
  return ages.early().find(([issuer]) => issuer === ISSUER)?.[1]
}

test.each([
  [0, 1],
  [EARLY_MS - 1, 1],
  [EARLY_MS, 0],
])('a key that signs %i ms after it was first seen counts %i', async (afterMs, want) => {
  await publish(OLD)
  await publish(OLD, NEW)
  expect(used('new', afterMs)).toBe(want)
})
test('it counts once, however many tokens come under it', async () => {
  await publish(OLD)
  await publish(NEW)
  expect([used('new'), used('new'), used('new', 1)]).toEqual([1, 1, 1])
})
test('each key counts for itself', async () => {
  await publish(OLD)
  await publish(OLD, NEW, THIRD)
  expect([used('new'), used('third')]).toEqual([1, 2])
})
test('a key that was first seen long ago has its age from then, whatever came with it later', async () => {
  await publish(OLD)
  await publish(OLD, NEW)
  clock += EARLY_MS
  await publish(OLD, NEW, THIRD)
  expect([used('new'), used('third')]).toEqual([0, 1])
})

describe('nothing is known about', () => {
  test('the keys of the first set, also when it came late', async () => {
    await publish()
    await publish(OLD, NEW)
    expect([used('old'), used('new')]).toEqual([0, 0])
  })
  test('keys of an issuer that is believed anew', async () => {
    await publish(OLD)
    await trust.state({ issuer: 'https://other.test.example', keys: [OLD] })
    await publish(OLD, NEW)
    expect(used('new')).toBe(0)
  })
  test('a kid that no set has', async () => {
    await publish(OLD)
    expect(used('nobody')).toBe(0)
    expect(() => ages.used('https://nobody.example', 'old')).not.toThrow()
  })
})

test('a key that goes and comes back is not new: servers of one provider may differ', async () => {
  await publish(OLD, NEW)
  await publish(OLD)
  await publish(OLD, NEW)
  expect(used('new')).toBe(0)
})
test('one that goes before it was used is forgotten, and nothing counts for it', async () => {
  await publish(OLD)
  await publish(OLD, NEW)
  await publish(OLD)
  expect(used('new')).toBe(0)
})
test('what does not change the key set changes no age', async () => {
  await publish(OLD)
  await publish(OLD, NEW)
  clock += EARLY_MS
  await publish(OLD, NEW)
  expect(used('new')).toBe(0)
})
