import { describe, expect, test } from 'vitest'
import { AT_S } from '../attacks/arena.ts'
import { chanceOf, openWorld, TOKENS, type World } from './memory-world.ts'
import { PATIENT_MS } from './world.ts'

// NC-6: whatever is verified, reconfigured, rotated, revoked, evicted and waited for, in whatever order: the verdict of a verifier that
// remembers is the verdict of one that does not, to the reason and to the claim.

const INTERLEAVINGS = Number(process.env['PORTCULLIS_INTERLEAVINGS'] ?? 100_000)
const SEED = Number(process.env['PORTCULLIS_SEED'] ?? 20_261_126)
const STEPS = 6
/** Fewer than there are tokens, so that eviction is part of every life. */
const ENTRIES = 16
/** A life of one memory: it ends when time has left all tokens behind. */
const LIFE = 50

type Step = 'verify' | 'reconfigure' | 'rotate' | 'revoke' | 'wait'
const STEP_WEIGHTS: readonly Step[] = [
  ...Array<Step>(10).fill('verify'),
  ...(['reconfigure', 'rotate', 'revoke', 'wait'] as const),
]

async function interleaving(
  world: World,
  chance: (below: number) => number,
  startMs: number,
): Promise<number> {
  let at = startMs
  const trail: string[] = []
  for (let step = 0; step < STEPS; step++) {
    const kind = STEP_WEIGHTS[chance(STEP_WEIGHTS.length)] ?? 'verify'
    trail.push(kind)
    if (kind === 'wait') at += chance(8) === 0 ? -chance(4_000) : chance(20_000)
    else if (kind === 'verify') {
      const token = TOKENS[chance(TOKENS.length)] ?? Buffer.alloc(0)
      // Twice in a row half of the time: otherwise a hit would be rare among so many changes.
      for (let again = chance(2); again >= 0; again--) {
        const [remembered, anew] = await world.ask(token, at)
        if (remembered !== anew) expect({ trail, at, remembered }).toEqual({ trail, at, remembered: anew })
      }
    } else world.changes[kind](chance)
  }
  return at
}

describe('NC-6: with a memory and without, verdicts are the same', () => {
  test(`in ${INTERLEAVINGS} random interleavings`, { timeout: PATIENT_MS }, async () => {
    const world = await openWorld(ENTRIES)
    const chance = chanceOf(SEED)
    let at = AT_S * 1000
    for (let count = 0; count < INTERLEAVINGS; count++) {
      if (count % LIFE === 0) {
        world.restart()
        at = AT_S * 1000
      }
      at = await interleaving(world, chance, at)
    }
    // A law about a memory that never had anything to remember says nothing.
    const { hit, negative_hit, recheck_failed, miss } = world.seen
    expect(Math.min(hit, negative_hit, recheck_failed, miss)).toBeGreaterThan(INTERLEAVINGS / 200)
  })
})
