/** Families that this process changed lately, and under which history of writes: those are what a failover may have undone. */
export interface FamilyJournal {
  /** `history`: of the server that had it; `undefined` when its answer was lost. `confirmed`: as many replicas have it as must. */
  changed(family: Buffer, history: string | undefined, confirmed: boolean): void
  /** Those whose server has another history now. */
  cutOff(now: (family: Buffer) => string | undefined): readonly Buffer[]
  settled(family: Buffer): void
}

interface Entry {
  readonly family: Buffer
  readonly history: string | undefined
  readonly confirmed: boolean
  readonly at: number
}

/** Entries at most; beyond them the oldest confirmed one goes. */
const MOST = 50_000

export function createFamilyJournal(now: () => number, keepMs: number): FamilyJournal {
  const entries = new Map<string, Entry>()

  const forgetOld = (): void => {
    for (const [name, { at, confirmed }] of entries) {
      // In order of change, so that the first young one ends the search; what no replica confirmed stays until something newer does.
      if (entries.size <= MOST && at > now() - keepMs) return
      if (confirmed || entries.size > MOST) entries.delete(name)
    }
  }
  return {
    changed(family, history, confirmed) {
      const name = family.toString('latin1')
      const before = entries.get(name)
      entries.delete(name)
      entries.set(name, { family, history: history ?? before?.history, confirmed, at: now() })
      forgetOld()
    },
    cutOff(current) {
      forgetOld()
      const cut: Buffer[] = []
      for (const { family, history } of entries.values()) {
        const present = current(family)
        if (present !== undefined && present !== history) cut.push(family)
      }
      return cut
    },
    settled: (family) => void entries.delete(family.toString('latin1')),
  }
}
