import type { Outcome } from '../ports.ts'

/**
 * Which generation number each projection is served under. The leader allocates and stores the table with compare-and-swap; every
 * replica serves a projection only when the stored table holds exactly its digest. So all replicas number alike, and one that is
 * behind, or no longer leads, can publish nothing new.
 */
export interface GenerationTable {
  /** Highest number ever given out. Never goes backwards. */
  readonly counter: number
  /** By key of the projection. */
  readonly projections: ReadonlyMap<string, Allocated>
}

export interface Allocated {
  /** Hex. */
  readonly digest: string
  readonly generation: number
}

export const EMPTY_TABLE: GenerationTable = { counter: 0, projections: new Map() }

/** How far at most a new leader moves away from the numbers of whoever led before it. */
export const TERM_GAP = 8192

/**
 * The table that says what is wanted: digests by key. Unchanged digests keep their number, unless some sidecar of that projection
 * already holds a higher one (`floors`), which it will not give up for a lower one. The same table when nothing changes.
 */
export function allocate(
  table: GenerationTable,
  wanted: ReadonlyMap<string, string>,
  floors: ReadonlyMap<string, number> = new Map(),
): GenerationTable {
  let { counter } = table
  let changed = wanted.size !== table.projections.size
  const projections = new Map<string, Allocated>()
  for (const [key, digest] of wanted) {
    const known = table.projections.get(key)
    // A number that was never given out is a claim, not a floor.
    const floor = floors.get(key) ?? 0
    const outrun = floor <= table.counter && known !== undefined && known.generation < floor
    if (known?.digest === digest && !outrun) {
      projections.set(key, known)
    } else {
      counter += 1
      changed = true
      projections.set(key, { digest, generation: counter })
    }
  }
  return changed ? { counter, projections } : table
}

/** The number under which this projection may be served now; undefined when the table does not hold it. */
export function servable(table: GenerationTable, key: string, digest: string): number | undefined {
  const known = table.projections.get(key)
  return known?.digest === digest ? known.generation : undefined
}

/** What a new leader stores first, and why chance has a part in it: see `beginTerm` of the revocation log. */
export function beginTerm(table: GenerationTable, chance: number): GenerationTable {
  return { ...table, counter: table.counter + 1 + Math.floor(chance * TERM_GAP) }
}

/** After a database was restored: above every number that the fleet has seen. Everything is numbered anew. */
export function raise(table: GenerationTable, seen: number): GenerationTable {
  if (seen <= table.counter) return table
  return { counter: seen + TERM_GAP, projections: new Map() }
}

/** Whether `next` may follow `current`: a counter or a number that fell was restored from the past. */
export function follows(next: GenerationTable, current: GenerationTable): boolean {
  return next.counter >= current.counter
}

export function formatTable({ counter, projections }: GenerationTable): string {
  return JSON.stringify({ version: 1, counter, projections: Object.fromEntries([...projections].sort()) })
}

/** Reads what `formatTable` wrote. What it does not understand is a problem and not an empty table. */
export function parseTable(text: string): Outcome<GenerationTable> {
  try {
    const { version, counter, projections } = JSON.parse(text) as {
      readonly version: unknown
      readonly counter: number
      readonly projections: Readonly<Record<string, Allocated>>
    }
    const entries = Object.entries(projections)
    const sound = entries.every(
      ([, { digest, generation }]) =>
        /^[0-9a-f]{64}$/.test(digest) && Number.isSafeInteger(generation) && generation <= counter,
    )
    if (version !== 1 || !Number.isSafeInteger(counter) || !sound) throw new Error('it is not ours')
    return { ok: true, value: { counter, projections: new Map(entries) } }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'unknown'
    return { ok: false, problems: [`the table of generations cannot be read: ${why}`] }
  }
}
