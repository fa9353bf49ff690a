// What a kid that nobody knows may cost. Time and the fetch are scripted; everything else is real.
import { setImmediate } from 'node:timers/promises'
import { beforeEach, expect, test } from 'vitest'
import { MISS_LIMITS } from '../../../sidecar/trust/keys.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { type KeyWorld, NEW, OLD, OTHER_ISSUER, type Outcome, openKeyWorld, PLACES } from './key-world.ts'

let world: KeyWorld

beforeEach(async () => {
  world = await openKeyWorld()
})

const junk = (index: number) => `junk-${index}`

test('001-06: 100 parallel questions for an unknown but real kid cause one fetch, and all get the key', async () => {
  world.script(async () => {
    await world.time.sleep(40, new AbortController().signal)
    return [OLD, NEW]
  })
  const answers = Promise.all(Array.from({ length: 100 }, () => world.ask('new')))
  await world.time.advance(50)
  expect(new Set(await answers)).toEqual(new Set(['key new']))
  expect(world.fetches).toHaveLength(1)
  expect(world.keys.counts).toEqual({ hits: 0, misses: 100 })
})

test('001-18, I12: kid_unknown is said after a successful fetch that lacks it, and for 30 s without another fetch', async () => {
  expect(await world.ask('nobody')).toBe('kid_unknown')
  expect(world.fetches).toHaveLength(1)
  for (const after of [0, 1, MISS_LIMITS.unknownKidMs - 2]) {
    await world.time.advance(after)
    expect(await world.ask('nobody')).toBe('kid_unknown')
  }
  expect(world.fetches).toHaveLength(1)
  await world.time.advance(1)
  expect(await world.ask('nobody')).toBe('kid_unknown')
  expect(world.fetches).toHaveLength(2)
})

test('one unknown kid does not make another one unknown', async () => {
  expect(await world.ask('nobody')).toBe('kid_unknown')
  world.script(() => [OLD, NEW])
  const other = world.ask('new')
  await world.time.advance(MISS_LIMITS.spacingMs)
  expect(await other).toBe('key new')
})

test('a fetch that was under way before the question proves nothing: another one follows', async () => {
  const first = Promise.withResolvers<Outcome>()
  world.script(() => first.promise)
  const early = world.ask('first')
  await world.time.advance(10)
  const late = world.ask('new')
  world.script(() => [OLD, NEW])
  first.resolve([OLD])
  expect(await early).toBe('kid_unknown')
  await world.time.advance(MISS_LIMITS.spacingMs)
  expect(await late).toBe('key new')
  expect(world.fetches).toHaveLength(2)
})

test.each([
  ['answers false', () => 'failure' as const],
  ['throws', () => Promise.reject(new Error('broken'))],
])('a fetch that %s leaves the question open: jwks_unavailable, never kid_unknown', async (_how, fails) => {
  world.script(fails)
  expect(await world.ask('nobody')).toBe('jwks_unavailable')
  expect(await world.ask('old')).toBe('key old')
})

test('after failures the pause doubles from 1 s to 60 s; meanwhile nothing is fetched and nobody waits', async () => {
  world.script(() => 'failure')
  const pauses = [1, 2, 4, 8, 16, 32, 60, 60].map((seconds) => seconds * 1000)
  let expected = 0
  for (const pause of pauses) {
    expect(await world.ask('nobody')).toBe('jwks_unavailable')
    expect(world.fetches).toHaveLength(++expected)
    await world.time.advance(pause - 1)
    expect(await world.ask('nobody')).toBe('jwks_unavailable')
    expect(world.fetches).toHaveLength(expected)
    await world.time.advance(1)
  }
  world.script(() => [OLD, NEW])
  expect(await world.ask('new')).toBe('key new')
})

test('a success ends the pause: the next failure pauses for 1 s again', async () => {
  world.script(() => 'failure')
  await world.ask('a')
  await world.time.advance(1_000)
  await world.ask('a')
  await world.time.advance(2_000)
  world.script(() => [OLD])
  expect(await world.ask('a')).toBe('kid_unknown')
  await world.time.advance(MISS_LIMITS.unknownKidMs)
  world.script(() => 'failure')
  expect(await world.ask('a')).toBe('jwks_unavailable')
  const before = world.fetches.length
  await world.time.advance(1_000)
  await world.ask('a')
  expect(world.fetches).toHaveLength(before + 1)
})

test('a kid seen right after another fetch waits for the next one, 500 ms after the last began', async () => {
  expect(await world.ask(junk(1))).toBe('kid_unknown')
  world.script(() => [OLD, NEW])
  const answers: string[] = []
  world.ask('new').then(
    (word) => answers.push(word),
    () => undefined,
  )
  await world.time.advance(MISS_LIMITS.spacingMs - 1)
  expect(answers).toEqual([])
  expect(world.fetches).toHaveLength(1)
  await world.time.advance(1)
  expect(answers).toEqual(['key new'])
  expect(world.fetches).toHaveLength(2)
})

test('everybody who asks before a fetch begins joins it', async () => {
  await world.ask(junk(0))
  const answers = Promise.all([1, 2, 3, 4, 5].map((serial) => world.ask(junk(serial))))
  await world.time.advance(MISS_LIMITS.spacingMs)
  expect(new Set(await answers)).toEqual(new Set(['kid_unknown']))
  expect(world.fetches).toHaveLength(2)
})

test('001-20: a rotation while 1,000 junk kids a second flood: not one question for the new key is refused', async () => {
  let rotated = false
  world.script(async () => {
    await world.time.sleep(30, new AbortController().signal)
    return rotated ? [NEW] : [OLD]
  })
  const good: Promise<string>[] = []
  const noise: Promise<string>[] = []
  let longest = 0
  const askGood = async (kid: string) => {
    const askedAt = world.time.now()
    const word = await world.ask(kid)
    longest = Math.max(longest, world.time.now() - askedAt)
    return word
  }
  for (let ms = 0; ms < 6_000; ms += 10) {
    rotated = ms >= 3_000
    for (let i = 0; i < 10; i++) noise.push(world.ask(junk(ms * 10 + i)))
    if (ms !== 3_000 - 10) good.push(askGood(rotated ? 'new' : 'old'))
    await world.time.advance(10)
  }
  await world.time.advance(MISS_LIMITS.waitMs)
  expect(new Set(await Promise.all(good))).toEqual(new Set(['key old', 'key new']))
  expect(new Set(await Promise.all(noise))).toEqual(new Set(['kid_unknown']))
  expect(longest).toBeLessThan(2 * MISS_LIMITS.spacingMs)
  expect(world.fetches.length).toBeLessThanOrEqual(1 + 9_000 / MISS_LIMITS.spacingMs)
})

test('an hour of junk, each kid once, causes at most one fetch in 500 ms, and none is left waiting', async () => {
  const seconds = 3_600
  for (let i = 0; i < seconds; i++) {
    for (let j = 0; j < 4; j++) world.ask(junk(4 * i + j)).catch(() => undefined)
    await world.time.advance(1_000)
  }
  expect(world.fetches.length).toBeLessThanOrEqual(1 + (seconds * 1_000) / MISS_LIMITS.spacingMs)
  expect(world.time.sleeping()).toBeLessThan(5)
})

test('while a fetch takes long, three quarters of the places are for kids seen once, an eighth more for those seen again', async () => {
  world.script(() => new Promise(() => undefined))
  const [first, all] = [(PLACES * 3) / 4, (PLACES * 7) / 8]
  const answers: string[] = []
  const queue = (kid: string) => void world.ask(kid).then((word) => answers.push(word))
  for (let i = 0; i < first; i++) queue(junk(i))
  await setImmediate()
  expect(answers).toEqual([])
  queue(junk(first))
  await setImmediate()
  expect(answers).toEqual(['jwks_unavailable'])
  for (let i = first; i < all; i++) queue(junk(i - first))
  await setImmediate()
  expect(answers).toHaveLength(1)
  queue(junk(0))
  await setImmediate()
  expect(answers).toHaveLength(2)
  await world.time.advance(MISS_LIMITS.waitMs)
  expect(answers).toHaveLength(all + 2)
  expect(new Set(answers)).toEqual(new Set(['jwks_unavailable']))
  expect(world.fetches).toHaveLength(1)
})

test('places are given back: after everybody has left, another may wait', async () => {
  world.script(() => new Promise(() => undefined))
  for (let i = 0; i < PLACES; i++) world.ask(junk(i)).catch(() => undefined)
  await world.time.advance(MISS_LIMITS.waitMs)
  const late = world.ask('late')
  expect(await Promise.race([late, setImmediate('waits')])).toBe('waits')
  await world.time.advance(MISS_LIMITS.waitMs)
  expect(await late).toBe('jwks_unavailable')
})

test('a caller that leaves is released at once, and the fetch goes on for the others', async () => {
  const gate = Promise.withResolvers<Outcome>()
  world.script(() => gate.promise)
  const caller = new AbortController()
  const impatient = world.ask('new', { signal: caller.signal })
  const patient = world.ask('new')
  await world.time.advance(10)
  caller.abort()
  expect(await impatient).toBe('jwks_unavailable')
  gate.resolve([OLD, NEW])
  expect(await patient).toBe('key new')
  expect(world.fetches).toHaveLength(1)
})

test('a caller that has left already causes nothing but its own denial', async () => {
  expect(await world.ask('new', { signal: AbortSignal.abort() })).toBe('jwks_unavailable')
})

test('nobody waits longer than three seconds for a fetch', async () => {
  world.script(() => new Promise(() => undefined))
  let answer = ''
  world.ask('new').then(
    (word) => {
      answer = word
    },
    () => undefined,
  )
  await world.time.advance(MISS_LIMITS.waitMs - 1)
  expect(answer).toBe('')
  await world.time.advance(1)
  expect(answer).toBe('jwks_unavailable')
})

test('a key that a scheduled fetch brings meanwhile is found by those who wait', async () => {
  await world.ask(junk(1))
  world.script(() => 'failure')
  const waiting = world.ask('new')
  await world.trust.state({ keys: [OLD, NEW] }, { issuer: OTHER_ISSUER, keys: [] })
  await world.time.advance(MISS_LIMITS.spacingMs)
  expect(await waiting).toBe('key new')
})

test('004-39: issuers do not share failures: the keys of one are found while the other is down', async () => {
  world.script(() => 'failure')
  expect(await world.ask('x', { issuer: OTHER_ISSUER })).toBe('jwks_unavailable')
  world.script(() => [OLD, NEW])
  expect(await world.ask('new')).toBe('key new')
  expect(world.fetches).toEqual([OTHER_ISSUER, ISSUER])
})
