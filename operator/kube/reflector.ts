import { Fault } from '../ports.ts'
import { faultOf } from './answer.ts'
import { createBackoff } from './backoff.ts'
import { listAll } from './listing.ts'
import { type KubeObject, nameOf } from './resource.ts'
import { listRequest, type ReflectorRules, type Selection, watchRequest } from './selection.ts'
import { createSilence } from './silence.ts'
import type { Sink } from './store.ts'
import type { KubePorts, Transport } from './transport.ts'
import { type Ended, followWatch } from './watching.ts'

export interface Reflector {
  /** Runs until the signal aborts; never gives up and never rejects. */
  run(signal: AbortSignal): Promise<void>
  status(): ReflectorStatus
}

export interface ReflectorNeeds {
  readonly transport: Transport
  readonly ports: KubePorts
  readonly sink: Sink
  readonly onSynced: () => void
}

export interface ReflectorStatus {
  /** Everything that existed has been seen once; true for good. */
  readonly synced: boolean
  /** A watch stream is open. */
  readonly watching: boolean
  /** When the server was last heard of, by the monotonic clock. */
  readonly heardAt: number | undefined
  /** Why the last attempt failed; absent while all is well. */
  readonly failure?: string
}

/** After so many fruitless watches from one version, everything is read again. */
const MAX_BARREN = 3
/** A watch that the server ends sooner than this, without an event, is a failure. */
const SHORT_MS = 1_000
/** How a server says that it does not serve initial events: it does not know the parameter, or the gate is off. */
const UNSERVED = [400, 405, 406, 415, 422]
/** Ends after which a known version means nothing any more. */
const AMNESIA: readonly Ended['why'][] = ['gone', 'refused', 'unreachable']

/** Keeps a sink equal to a collection of the API server: reads it all, then follows its changes, over and over. */
export function createReflector(
  selection: Selection,
  rules: ReflectorRules,
  needs: ReflectorNeeds,
): Reflector {
  const { transport, ports } = needs
  const resource = nameOf(selection.place.resource)
  const backoff = createBackoff(...rules.backoffMs, ports.random)
  const health = createHealth(resource, needs)
  let served = rules.watchList
  let version: string | undefined
  let barren = 0
  const silence = createSilence(rules.stallMs, ports.monotonic)

  const install = (how: 'list' | 'watchlist', items: readonly KubeObject[], at: string): void => {
    needs.sink.replace(items)
    seen(at)
    health.installed(how)
  }
  const seen = (at: string): void => {
    version = at
    barren = 0
    backoff.reset()
    health.heard()
  }
  const limits = { ...rules, timeoutMs: rules.listTimeoutMs }
  const readAll = async (signal: AbortSignal): Promise<number> => {
    const answer = await listAll(transport, listRequest(selection), limits, signal)
    if (!answer.ok) throw faultOf(answer.refused, `list ${resource}`)
    install('list', answer.value.items, answer.value.resourceVersion)
    silence.begun()
    return 0
  }
  const follow = async (signal: AbortSignal): Promise<number> => {
    const request = watchRequest(selection, rules, version, ports.random())
    const fromNothing = version === undefined
    const opened = (): void => {
      health.opened()
      if (silence.broken() || fromNothing) return
      version = undefined
      throw new Fault('gone', 'too long without a watch to go on from where it was')
    }
    const watch = { ...needs, resource, opened, initial: install.bind(undefined, 'watchlist'), seen }
    const ended = await followWatch({ request, from: version, stallMs: rules.stallMs }, watch, signal)
    silence.begun(ended)
    health.closed(ended)
    if (signal.aborted) return 0
    if (fromNothing && ended.refused && UNSERVED.includes(ended.refused.status)) {
      served = false
      return 0
    }
    return isRoutine(ended) ? 0 : recover(ended)
  }
  /** After a watch that failed: milliseconds to wait before the next step. */
  const recover = (ended: Ended): number => {
    const { why, progressed, detail } = ended
    health.failed(`watch: ${why}, ${detail}`)
    barren = progressed ? 0 : barren + 1
    // After a refusal, or when nobody answered, the server may come back with another past (an etcd restored from a backup), in
    // which the same version means something else. Only reading everything again can tell.
    if (AMNESIA.includes(why) || barren >= MAX_BARREN) version = undefined
    return progressed || (why === 'gone' && barren === 1) ? 0 : backoff.next()
  }
  const turn = async (signal: AbortSignal): Promise<number> => {
    try {
      const pages = version === undefined && (!served || barren >= MAX_BARREN)
      return pages ? await readAll(signal) : await follow(signal)
    } catch (cause) {
      if (signal.aborted) return 0
      health.failed(Fault.from(cause).message)
      return backoff.next()
    }
  }

  return {
    status: health.status,
    async run(signal) {
      while (!signal.aborted) {
        const waitMs = await turn(signal)
        if (waitMs > 0) await ports.sleep(waitMs, signal).catch(() => undefined)
      }
    },
  }
}

function isRoutine({ why, progressed, lastedMs }: Ended): boolean {
  return why === 'ended' && (progressed || lastedMs >= SHORT_MS)
}

interface Health {
  readonly opened: () => void
  readonly closed: (ended: Ended) => void
  readonly heard: () => void
  readonly installed: (how: string) => void
  readonly failed: (detail: string) => void
  readonly status: () => ReflectorStatus
}

/** What can be told about a reflector from outside. */
function createHealth(resource: string, { ports, onSynced }: ReflectorNeeds): Health {
  const { metrics, monotonic, report } = ports
  let [synced, watching] = [false, false]
  let heardAt: number | undefined
  let failure: string | undefined
  const setWatching = (open: boolean): void => {
    watching = open
    metrics.set('portcullis_kube_watching', { resource }, open ? 1 : 0)
  }
  return {
    status: () => ({ synced, watching, heardAt, ...(failure === undefined ? {} : { failure }) }),
    opened() {
      setWatching(true)
      heardAt = monotonic()
    },
    closed({ why }) {
      setWatching(false)
      metrics.add('portcullis_kube_watch_ends_total', { resource, why })
    },
    heard() {
      heardAt = monotonic()
      failure = undefined
    },
    installed(how) {
      metrics.add('portcullis_kube_lists_total', { resource, how })
      synced = true
      onSynced()
    },
    failed(detail) {
      failure = detail
      report('kube_mirror_failed', { resource, detail })
    },
  }
}
