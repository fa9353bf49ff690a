import { formatMicroTime } from '../../contracts/time.ts'
import { Fault, type Monotonic } from '../ports.ts'
import { createDelays } from './delays.ts'
import { apiVersionOf } from './resource.ts'
import { EVENTS } from './resources.ts'
import type { KubePorts, Transport } from './transport.ts'
import { create, patch } from './verbs.ts'

/** core/v1 ObjectReference: what an event is about. */
export interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
}
export interface Happening {
  readonly regarding: Regarding
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, from a fixed list: why. */
  readonly reason: string
  /** CamelCase, from a fixed list: what was done about it. */
  readonly action: string
  /** For people; cut at 1,024 bytes. Never a secret. */
  readonly note: string
}

export interface Events extends AsyncDisposable {
  /** Never waits and never throws. The same happening again becomes a series of the first event, not another event. */
  tell(happening: Happening): void
}

export interface EventOptions {
  /** `portcullis.dev/operator`. */
  readonly controller: string
  /** The pod. */
  readonly instance: string
  /** Where events about cluster-scoped objects go. */
  readonly namespace?: string
  readonly limits?: EventLimits
}
export interface EventLimits {
  /** Requests at once, and then one every `everyMs`, for all objects together. */
  readonly burst: number
  readonly everyMs: number
  /** How often a series is written, at most. */
  readonly seriesMs: number
  /** A happening not repeated for this long begins a new event. */
  readonly idleMs: number
  readonly maxSeries: number
}

export const EVENT_LIMITS: EventLimits = {
  burst: 50,
  everyMs: 500,
  seriesMs: 30_000,
  idleMs: 360_000,
  maxSeries: 1_000,
}

interface Series {
  readonly happening: Happening
  readonly name: string
  readonly namespace: string
  created: boolean
  count: number
  written: number
  lastAt: number
  seenAt: number
}

/** Writes events.k8s.io/v1 Events, each happening once, repetitions as a series, and no more than a bounded number a minute. */
export async function openEvents(
  transport: Transport,
  options: EventOptions,
  ports: KubePorts,
): Promise<Events> {
  const limits = options.limits ?? EVENT_LIMITS
  const all = new Map<string, Series>()
  const closing = new AbortController()
  const bucket = createBucket(limits, ports.monotonic)
  const writing = new Set<Promise<void>>()
  const count = (outcome: string) => ports.metrics.add('portcullis_kube_events_total', { outcome })

  const forget = (key: string, outcome: 'dropped' | 'failed'): void => {
    all.delete(key)
    count(outcome)
  }
  const write = async (key: string, series: Series): Promise<void> => {
    // An event that was never written cannot be continued; a series can wait for its next repetition.
    if (!bucket.take()) return series.created ? count('dropped') : forget(key, 'dropped')
    const told = series.count
    const send = series.created ? continueSeries : createEvent
    try {
      if (!(await send(transport, options, series, closing.signal))) return forget(key, 'failed')
      count(series.created ? 'repeated' : 'created')
      series.created = true
      series.written = told
      if (series.count > told) later.add(key, limits.seriesMs)
    } catch (cause) {
      forget(key, 'failed')
      if (!closing.signal.aborted) ports.report('kube_event_failed', { detail: Fault.from(cause).message })
    }
  }
  const start = (key: string, series: Series): void => {
    const one = write(key, series).finally(() => writing.delete(one))
    writing.add(one)
  }
  const later = createDelays((key) => {
    const series = all.get(key)
    if (series && series.count > series.written) start(key, series)
  }, ports)

  return {
    tell(happening) {
      if (closing.signal.aborted) return
      const key = JSON.stringify(happening)
      const at = ports.monotonic()
      const known = all.get(key)
      if (known && at - known.seenAt < limits.idleMs) {
        known.count += 1
        known.lastAt = ports.now()
        known.seenAt = at
        if (known.created) later.add(key, limits.seriesMs)
        return
      }
      all.delete(key)
      makeRoom(all, limits.maxSeries)
      const series = newSeries(happening, options, ports)
      all.set(key, series)
      start(key, series)
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      later.stop()
      await Promise.all([...writing])
    },
  }
}

function newSeries(happening: Happening, options: EventOptions, ports: KubePorts): Series {
  const suffix = Math.floor(ports.random() * 2 ** 48).toString(16)
  const stamp = ports.now().toString(16)
  return {
    happening,
    name: `${happening.regarding.name.slice(0, 200)}.${stamp}${suffix.padStart(12, '0')}`,
    namespace: happening.regarding.namespace ?? options.namespace ?? 'default',
    created: false,
    count: 1,
    written: 0,
    lastAt: ports.now(),
    seenAt: ports.monotonic(),
  }
}

/** The oldest go first: a Map remembers the order of arrival. */
function makeRoom(all: Map<string, Series>, max: number): void {
  for (const key of all.keys()) {
    if (all.size < max) return
    all.delete(key)
  }
}

async function createEvent(
  transport: Transport,
  options: EventOptions,
  { happening, name, namespace, lastAt }: Series,
  signal: AbortSignal,
): Promise<boolean> {
  const { regarding, type, reason, action, note } = happening
  const event = {
    apiVersion: apiVersionOf(EVENTS),
    kind: EVENTS.kind,
    metadata: { name, namespace },
    eventTime: formatMicroTime(lastAt),
    reportingController: options.controller,
    reportingInstance: options.instance.slice(0, 128),
    regarding,
    type,
    reason: reason.slice(0, 128),
    action: action.slice(0, 128),
    note: cut(note, 1_024),
  }
  const answer = await create(transport, { resource: EVENTS, namespace }, event, signal)
  return answer.ok
}

async function continueSeries(
  transport: Transport,
  _: EventOptions,
  { name, namespace, count, lastAt }: Series,
  signal: AbortSignal,
): Promise<boolean> {
  const body = { series: { count, lastObservedTime: formatMicroTime(lastAt) } }
  const place = { resource: EVENTS, namespace, name }
  const answer = await patch(transport, place, { type: 'merge', body }, signal)
  return answer.ok
}

/** At most `bytes` bytes of UTF-8, no character cut in two. */
function cut(text: string, bytes: number): string {
  const raw = Buffer.from(text)
  if (raw.length <= bytes) return text
  let end = bytes
  while (end > 0 && ((raw[end] ?? 0) & 0xc0) === 0x80) end -= 1
  return raw.subarray(0, end).toString('utf8')
}

function createBucket({ burst, everyMs }: EventLimits, monotonic: Monotonic) {
  let tokens = burst
  let filledAt = monotonic()
  return {
    take(): boolean {
      const grown = Math.floor((monotonic() - filledAt) / everyMs)
      tokens = Math.min(burst, tokens + grown)
      filledAt += grown * everyMs
      if (tokens === 0) return false
      tokens -= 1
      return true
    },
  }
}
