import type { Held } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { ServedPod } from './world.ts'

/** What each sidecar of this replica has acknowledged. Keyed by the UID in its certificate, so nobody can speak for another. */
export interface Acks {
  /** Replaces or completes what is known of a pod. */
  heard(pod: ServedPod, what: Heard): void
  /** Pods that are no more, or are served another projection now. */
  settle(pods: ReadonlyMap<string, ServedPod>): void
  states(): readonly SidecarState[]
  /** Grows with every change that somebody may want to report. */
  revision(): number
}

export interface Heard {
  readonly at: number
  readonly held?: Held
  /** Why it refused the newest of something; empty when it took it. */
  readonly problems?: readonly string[]
}

const PROBLEMS = 8
const PROBLEM_LENGTH = 512

export function createAcks(): Acks {
  const states = new Map<string, SidecarState>()
  let revision = 0
  return {
    heard(pod, { at, held, problems }) {
      const before = states.get(pod.uid) ?? unheard(pod)
      const next: SidecarState = {
        ...before,
        projection: pod.projection,
        heardAtMs: at,
        ...(held && {
          generation: held.generation,
          revocationHead: held.revocationHead,
          trustSequence: held.trustSequence,
          policyDigest: held.policyDigest.toString('hex').slice(0, 64),
        }),
        ...(problems && {
          problems: problems.slice(0, PROBLEMS).map((problem) => problem.slice(0, PROBLEM_LENGTH)),
        }),
      }
      states.set(pod.uid, next)
      if (differs(before, next)) revision++
    },
    settle(pods) {
      for (const [uid, state] of states) {
        const pod = pods.get(uid)
        if (!pod) states.delete(uid)
        else if (pod.projection !== state.projection)
          states.set(uid, { ...state, projection: pod.projection })
        else continue
        revision++
      }
    },
    states: () => [...states.values()],
    revision: () => revision,
  }
}

function unheard({ uid, namespace, name, projection }: ServedPod): SidecarState {
  return {
    podUid: uid,
    namespace,
    pod: name,
    projection,
    generation: 0,
    revocationHead: 0,
    trustSequence: 0,
    problems: [],
    heardAtMs: 0,
    policyDigest: '',
  }
}

// That it was heard again is no news; the regular report carries it.
function differs(one: SidecarState, other: SidecarState): boolean {
  return (
    one.heardAtMs === 0 ||
    one.projection !== other.projection ||
    one.generation !== other.generation ||
    one.revocationHead !== other.revocationHead ||
    one.trustSequence !== other.trustSequence ||
    one.policyDigest !== other.policyDigest ||
    one.problems.join('\n') !== other.problems.join('\n')
  )
}
