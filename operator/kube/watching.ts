import { Fault } from '../ports.ts'
import type { Refusal } from './answer.ts'
import type { KubeObject } from './resource.ts'
import { keyOf } from './resource.ts'
import type { Sink } from './store.ts'
import type { KubePorts, KubeRequest, Transport } from './transport.ts'
import { isLater, readEvents, type WatchEvent } from './watch-events.ts'

/** How to begin. */
export interface Opening {
  readonly request: KubeRequest
  /** The version the watch starts after; `undefined`: everything that exists is sent first. */
  readonly from: string | undefined
  readonly stallMs: number
}

/** How a watch came to its end. */
export interface Ended {
  readonly why: 'ended' | 'gone' | 'refused' | 'unreachable' | 'cut' | 'stalled' | 'garbage'
  /** One event or bookmark at least was taken. */
  readonly progressed: boolean
  readonly lastedMs: number
  readonly detail: string
  readonly refused?: Refusal
}

export interface WatchNeeds {
  readonly transport: Transport
  readonly ports: KubePorts
  readonly resource: string
  readonly sink: Sink
  readonly opened: () => void
  /** Everything that exists, of a watch that began with nothing. */
  readonly initial: (items: readonly KubeObject[], version: string) => void
  readonly seen: (version: string) => void
}

type Verdict = Pick<Ended, 'why' | 'detail' | 'refused'>

/** One watch, from its request to its end, whatever kind of end. */
export async function followWatch(opening: Opening, needs: WatchNeeds, signal: AbortSignal): Promise<Ended> {
  const { transport, ports } = needs
  const startedAt = ports.monotonic()
  const stop = new AbortController()
  const course = createCourse(opening.from, needs)
  let open = false
  const ended = (verdict: Verdict): Ended => ({
    ...verdict,
    progressed: course.progressed(),
    lastedMs: ports.monotonic() - startedAt,
  })
  try {
    const answer = await transport.stream(opening.request, AbortSignal.any([signal, stop.signal]))
    if (!answer.ok) return ended(refusedBy(answer.refused))
    open = true
    needs.opened()
    for await (const event of readEvents(guarded(answer.value, opening.stallMs, stop, ports))) {
      const verdict = course.take(event)
      if (verdict) return ended(verdict)
    }
    if (course.pending()) return ended({ why: 'cut', detail: 'ended before everything was sent' })
    return ended({ why: 'ended', detail: 'ended by the server' })
  } catch (cause) {
    if (stop.signal.aborted)
      return ended({ why: 'stalled', detail: `nothing heard for ${opening.stallMs} ms` })
    return ended({ why: open ? 'cut' : 'unreachable', detail: Fault.from(cause).message })
  } finally {
    // Leaving early must end the request too, or its connection would be held until the server gives up.
    stop.abort()
  }
}

function refusedBy(refused: Refusal): Verdict {
  const detail = `${refused.status} ${refused.reason} ${refused.message}`.trim()
  return { why: refused.status === 410 ? 'gone' : 'refused', detail, refused }
}

interface Course {
  /** Does what the event says; a verdict ends the watch. */
  take(event: WatchEvent): Verdict | undefined
  progressed(): boolean
  /** Initial events were asked for and are not complete. */
  pending(): boolean
}

type ObjectEvent = Extract<WatchEvent, { readonly kind: 'object' }>

function createCourse(
  from: string | undefined,
  { sink, initial, seen, ports, resource }: WatchNeeds,
): Course {
  let version = from
  let progressed = false
  const gathered = new Map<string, KubeObject>()

  const advance = (to: string): void => {
    version = to
    progressed = true
    seen(to)
  }
  const count = (type: string): void =>
    ports.metrics.add('portcullis_kube_watch_events_total', { resource, type })
  const gather = ({ type, object }: ObjectEvent): void => {
    count(type)
    if (type === 'DELETED') gathered.delete(keyOf(object))
    else gathered.set(keyOf(object), object)
  }
  const takeObject = (event: ObjectEvent, last: string): void => {
    // A watch never goes back: what is not later was sent twice, and may be older than what is known.
    const later = isLater(event.version, last)
    count(later ? event.type : 'DUPLICATE')
    if (!later) return
    if (event.type === 'DELETED') sink.remove(event.object)
    else sink.upsert(event.object)
    advance(event.version)
  }
  const takeBookmark = (to: string, initialEnd: boolean): void => {
    count('BOOKMARK')
    const complete = version === undefined && initialEnd
    if (complete) {
      initial([...gathered.values()], to)
      gathered.clear()
    }
    if (complete || (version !== undefined && isLater(to, version))) advance(to)
  }
  return {
    pending: () => version === undefined,
    progressed: () => progressed,
    take(event) {
      switch (event.kind) {
        case 'object':
          if (version === undefined) gather(event)
          else takeObject(event, version)
          return undefined
        case 'bookmark':
          takeBookmark(event.version, event.initialEnd)
          return undefined
        case 'refused':
          return refusedBy(event.refused)
        case 'garbage':
          return { why: 'garbage', detail: event.why }
        default:
          return event satisfies never
      }
    },
  }
}

/** The same chunks; `stop` is aborted when none came for `stallMs`. */
async function* guarded(
  chunks: AsyncIterable<Buffer>,
  stallMs: number,
  stop: AbortController,
  { monotonic, sleep }: KubePorts,
): AsyncGenerator<Buffer, void> {
  const over = new AbortController()
  let heardAt = monotonic()
  const guard = async (): Promise<void> => {
    for (let left = stallMs; left > 0; left = heardAt + stallMs - monotonic()) await sleep(left, over.signal)
    stop.abort()
  }
  guard().catch(() => undefined) // told to end, as the stream did
  try {
    for await (const chunk of chunks) {
      heardAt = monotonic()
      yield chunk
    }
  } finally {
    over.abort()
  }
}
