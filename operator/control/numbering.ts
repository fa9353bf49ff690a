import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { writtenTable } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Random } from '../ports.ts'
import { floorsOf } from '../publish/aggregate.ts'
import { allocate, beginTerm, type GenerationTable, raise } from '../state/generations.ts'
import { digestsOf } from '../state/projections.ts'
import type { Views } from './view.ts'

/** Gives every projection its number. Only for the leader, whose writes are fenced. */
export interface Numbering {
  /** Numbers whatever has none. `false`: somebody else wrote meanwhile; look again. The first time it begins a term. */
  settle(states: Iterable<SidecarState>, signal: AbortSignal): Promise<boolean>
  /** Above everything that the fleet has seen, after the database was restored. */
  raiseAbove(generation: number, signal: AbortSignal): Promise<boolean>
}

export function createNumbering(ledger: Ledger, views: Views, random: Random): Numbering {
  let begun = false
  const store = async (next: GenerationTable, signal: AbortSignal): Promise<boolean> =>
    next === views.current().table || ledger.write(writtenTable(next), signal)
  return {
    async settle(states, signal) {
      const { projections, table, forgotten } = views.current()
      // Numbers that were given out already would be given out again.
      if (forgotten) return true
      const from = begun ? table : beginTerm(table, random())
      const stored = await store(allocate(from, digestsOf(projections), floorsOf(states, from)), signal)
      begun ||= stored
      return stored
    },
    raiseAbove: (generation, signal) => store(raise(views.current().table, generation), signal),
  }
}
