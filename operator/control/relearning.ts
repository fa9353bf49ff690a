import type { PodFacts } from '../config.ts'
import type { Report } from '../ports.ts'
import type { PublisherPorts, Recollection } from '../publish/settings.ts'
import type { Views } from './view.ts'

/** Takes back what the database has forgotten: from sidecars that tell it, and from this replica's own memory. */
export interface Relearning {
  readonly recalled: PublisherPorts['recalled']
  /** Whether something is known to be forgotten and could not be taken back yet. Then nobody may be vouched for. */
  owing(): boolean
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
  /** UIDs of sidecars whose answer could not be stored. They are asked again when they connect again, which they do at once. */
  const unkept = new Set<string>()
  let busy = false

  const own = async (what: Recollection): Promise<void> => {
    const problem = await merge(what)
    if (problem === undefined) views.relearned()
    else report('forgotten_not_stored', { problem })
  }
  return {
    owing() {
      const { forgotten, cluster } = views.current()
      // A pod that is no more cannot be asked again.
      for (const uid of unkept) if (!cluster.pods.has(uid)) unkept.delete(uid)
      return forgotten !== undefined || unkept.size > 0
    },
    async recalled(what) {
      const problem = await merge(what)
      if (problem === undefined) unkept.delete(what.pod.uid)
      else unkept.add(what.pod.uid)
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
      }).finally(() => {
        busy = false
      })
    },
  }
}
