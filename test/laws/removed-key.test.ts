import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { type Arena, openArena, tokenOf, trusting } from '../attacks/arena.ts'
import { relabelled, signingKey } from '../fixtures/keys.ts'
import { POLICY } from '../fixtures/pipeline.ts'
import { createTally, PATIENT_MS } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const keys = [
  signingKey('Ed25519', 'a'),
  signingKey('Ed25519', 'b'),
  signingKey('ES256', 'c'),
  signingKey('RS256', 'd'),
]
const [first = signingKey()] = keys
const policy = await readBundle(POLICY.invoices)
const arenas = new Map<string, Promise<Arena>>()

// Every key may be claimed by every name: genuine tokens, and thefts of a name.
const tokens = keys.flatMap((key) =>
  [...keys.map(({ kid }) => kid), 'z'].map((kid) => tokenOf({ key: relabelled(key, { kid }) })),
)

function arenaWith(some: readonly (typeof first)[]): Promise<Arena> {
  const name = some.map(({ kid }) => kid).join()
  const known = arenas.get(name)
  if (known) return known
  const algorithms = ['Ed25519', 'ES256', 'RS256']
  const opened = openArena({ policy, issuers: [{ ...trusting(...some).issuers[0], algorithms }] })
  arenas.set(name, opened)
  return opened
}

test('removing keys never adds an allow', async () => {
  const tally = createTally()
  const subset = fc.subarray(keys)
  await fc.assert(
    fc.asyncProperty(subset, subset, fc.constantFrom(...tokens), async (some, removed, token) => {
      const [more, less] = await Promise.all([
        arenaWith(some),
        arenaWith(some.filter((key) => !removed.includes(key))),
      ])
      const [before, after] = await Promise.all([more.verdict(token), less.verdict(token)])
      tally.note(`${before === 'allow'} ${after === 'allow'}`)
      return before === 'allow' || after !== 'allow'
    }),
    { numRuns: 2_000 },
  )
  expect(tally.of('true true')).toBeGreaterThan(20)
  expect(tally.of('true false')).toBeGreaterThan(20)
})

test('a token is allowed exactly when its own key is in the set', async () => {
  for (const some of [keys, keys.slice(0, 2), keys.slice(2), []]) {
    const arena = await arenaWith(some)
    for (const key of keys) expect((await arena.verdict({ key })) === 'allow').toBe(some.includes(key))
  }
})

test('removing keys at run time is believed at once', async () => {
  const arena = await openArena({ policy, ...trusting(...keys) })
  const token = tokenOf({ key: first })
  expect(await arena.verdict(token)).toBe('allow')
  await arena.pipeline.install(trusting(...keys.slice(1)))
  expect(await arena.verdict(token)).toBe('kid_unknown')
  await arena.pipeline.install(trusting(...keys))
  expect(await arena.verdict(token)).toBe('allow')
})
