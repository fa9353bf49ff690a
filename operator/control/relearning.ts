import type { PodFacts } from '../config.ts'
import type { Report } from '../ports.ts'
import type { PublisherPorts, Recollection } from '../publish/settings.ts'
import type { Views } from './view.ts'

/** Takes back what the database has forgotten: from sidecars that tell it, and from this replica's own memory. */
export interface Relearning {
  readonly recalled: PublisherPorts['recalled']
  /** Whether this replica remembers something that is forgotten and could not be taken back yet. Then nobody may be vouched for. */
  owing(): boolean
  readonly doubted: PublisherPorts['doubted']
  /** Begins to take back what only this replica remembers, when there is any and it has not begun yet. */
  look(at: number): void
}

export interface RelearningNeeds {
  readonly views: Views
  readonly merge: PublisherPorts['recalled']
  readonly pod: PodFacts
  readonly namespace: string
  readonly report: Report
}

export function createRelearning({ views, merge, pod, namespace, report }: RelearningNeeds): Relearning {
  /** By UID, sidecars whose answer could not be stored, and the TokenIssuers that it may have been about. */
  const unkept = new Map<string, ReadonlySet<string>>()
  let busy = false

  const own = async (what: Recollection): Promise<void> => {
    const problem = await merge(what)
    if (problem === undefined) views.relearned()
    else report('forgotten_not_stored', { problem: problem.why })
  }
  return {
    owing: () => views.current().forgotten !== undefined,
    doubted() {
      const { cluster } = views.current()
      // A pod that is no more cannot be asked again.
      for (const uid of unkept.keys()) if (!cluster.pods.has(uid)) unkept.delete(uid)
      return new Set([...unkept].flatMap(([uid, sources]) => [uid, ...sources]))
    },
    async recalled(what) {
      const problem = await merge(what)
      const { uid } = what.pod
      // Of one telling; with its first part it is told anew.
      const before = what.begins ? undefined : unkept.get(uid)
      if (problem) unkept.set(uid, new Set([...what.sources, ...(before ?? [])]))
      else if (!before) unkept.delete(uid)
      return problem
    },
    look(at) {
      const { forgotten } = views.current()
      if (!forgotten || busy) return
      busy = true
      const { log, table } = forgotten
      const entries = [...log.live.values()].flatMap(({ entry }) => (entry.expiresAtMs > at ? [entry] : []))
      const { uid, name } = pod
      void own({
        pod: { uid, name, namespace },
        generation: table.counter,
        revocationHead: log.head,
        entries,
        sources: [],
        begins: true,
        own: true,
      }).finally(() => {
        busy = false
      })
    },
  }
}
