import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { writtenTable } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { floorsOf } from '../publish/aggregate.ts'
import { allocate, beginTerm, type GenerationTable, raise } from '../state/generations.ts'
import type { Views } from './view.ts'

/** Gives every projection its number. Only for the leader, whose writes are fenced. */
export interface Numbering {
  /** What a new leader writes first. */
  begin(chance: number, signal: AbortSignal): Promise<boolean>
  /** Numbers whatever has none. `false`: somebody else wrote meanwhile; look again. */
  settle(states: Iterable<SidecarState>, signal: AbortSignal): Promise<boolean>
  /** Above everything that the fleet has seen, after the database was restored. */
  raiseAbove(generation: number, signal: AbortSignal): Promise<boolean>
}

export function createNumbering(ledger: Ledger, views: Views): Numbering {
  const store = (next: GenerationTable, signal: AbortSignal) =>
    next === views.current().table ? Promise.resolve(true) : ledger.write(writtenTable(next), signal)
  return {
    begin: (chance, signal) => store(beginTerm(views.current().table, chance), signal),
    settle(states, signal) {
      const { projections, table } = views.current()
      const wanted = new Map([...projections.byKey].map(([key, { digest }]) => [key, digest]))
      return store(allocate(table, wanted, floorsOf(states, table)), signal)
    },
    raiseAbove: (generation, signal) => store(raise(views.current().table, generation), signal),
  }
}
