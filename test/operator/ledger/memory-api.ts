import { setTimeout as delay } from 'node:timers/promises'
import type { Answer } from '../../../operator/kube/answer.ts'
import type { KubeObject } from '../../../operator/kube/resource.ts'
import type { KubePorts, KubeRequest, Transport } from '../../../operator/kube/transport.ts'

// An API server of one collection, in memory: versions, conflicts and a watch whose news a test delivers when it wants. What the real
// one does is shown in test/cluster; here the order of answers and news is the matter.

export interface MemoryApi extends Transport {
  /** News that were not delivered yet. */
  readonly waiting: { readonly type: string; readonly object: KubeObject }[]
  /** Delivers the oldest news; all of them without a number. */
  deliver(count?: number): Promise<void>
  /** Somebody else's write. */
  put(object: KubeObject): KubeObject
  take(name: string): void
  get(name: string): KubeObject | undefined
  /** Called before each answer is given. */
  beforeAnswer: (request: KubeRequest) => Promise<void> | void
  readonly requests: KubeRequest[]
}

export function createMemoryApi(): MemoryApi {
  const objects = new Map<string, KubeObject>()
  const waiting: MemoryApi['waiting'][number][] = []
  const requests: KubeRequest[] = []
  let version = 100
  let watcher: { push(line: object): void } | undefined
  const stamp = (object: KubeObject): KubeObject => {
    version += 1
    const uid = objects.get(object.metadata.name)?.metadata.uid ?? `uid-${version}`
    return { ...object, metadata: { ...object.metadata, uid, resourceVersion: String(version) } }
  }
  const put = (object: KubeObject): KubeObject => {
    const type = objects.has(object.metadata.name) ? 'MODIFIED' : 'ADDED'
    const stored = stamp(object)
    objects.set(object.metadata.name, stored)
    waiting.push({ type, object: stored })
    return stored
  }
  const take = (name: string): void => {
    const object = objects.get(name)
    if (!object) return
    waiting.push({ type: 'DELETED', object: stamp(object) })
    objects.delete(name)
  }
  const act = ({ method, name = '', body }: KubeRequest): Answer<unknown> => {
    const known = objects.get(name)
    const asked = body as KubeObject & { readonly preconditions?: { readonly resourceVersion?: string } }
    if (method === 'POST') {
      return objects.has(asked.metadata.name) ? refused(409) : { ok: true, value: put(asked) }
    }
    if (!known) return refused(404)
    const wanted = method === 'DELETE' ? asked.preconditions?.resourceVersion : asked.metadata.resourceVersion
    if (wanted !== undefined && wanted !== known.metadata.resourceVersion) return refused(409)
    if (method === 'PUT') return { ok: true, value: put(asked) }
    take(name)
    return { ok: true, value: {} }
  }
  const api: MemoryApi = {
    waiting,
    requests,
    put,
    take,
    get: (name) => objects.get(name),
    beforeAnswer: () => undefined,
    async deliver(count = waiting.length) {
      while (!watcher) await delay(1)
      for (const { type, object } of waiting.splice(0, count)) watcher.push({ type, object })
      await delay(5)
    },
    async send(request, signal) {
      signal.throwIfAborted()
      requests.push(request)
      const answer = act(request)
      await api.beforeAnswer(request)
      return answer
    },
    async stream(_request, signal) {
      const { push, chunks } = createLines(signal)
      watcher = { push }
      for (const object of objects.values()) push({ type: 'ADDED', object })
      waiting.length = 0
      const metadata = {
        resourceVersion: String(version),
        annotations: { 'k8s.io/initial-events-end': 'true' },
      }
      push({ type: 'BOOKMARK', object: { metadata } })
      return { ok: true, value: chunks }
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
  return api
}

function refused(status: number): Answer<unknown> {
  return { ok: false, refused: { status, reason: '', message: '', causes: [] } as never }
}

function createLines(signal: AbortSignal) {
  const lines: Buffer[] = []
  let next = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => next.resolve())
  async function* chunks(): AsyncGenerator<Buffer, void> {
    while (!signal.aborted) {
      for (const line of lines.splice(0)) yield line
      await next.promise
      next = Promise.withResolvers<void>()
    }
  }
  return {
    chunks: chunks(),
    push(line: object) {
      lines.push(Buffer.from(`${JSON.stringify(line)}\n`))
      next.resolve()
    },
  }
}

export interface TestPorts extends KubePorts {
  readonly reports: string[]
  /** Moves the monotonic clock, and ends the sleeps that are over then. */
  pass(ms: number): Promise<void>
}

/** Real sleeps are for the reflector; the clock is the test's. */
export function createTestPorts(): TestPorts {
  let at = 1_000
  const sleepers = new Set<{ readonly until: number; readonly wake: () => void }>()
  const reports: string[] = []
  return {
    reports,
    now: () => at + Date.UTC(2026, 0, 1),
    monotonic: () => at,
    random: () => 0.5,
    report: (event, facts) => void reports.push(`${event} ${JSON.stringify(facts ?? {})}`),
    metrics: { add: () => undefined, set: () => undefined, observe: () => undefined },
    sleep: (ms, signal) =>
      new Promise((wake, fail) => {
        const one = { until: at + ms, wake }
        sleepers.add(one)
        signal.addEventListener('abort', () => fail(signal.reason), { once: true })
      }),
    async pass(ms) {
      at += ms
      for (const one of sleepers) {
        if (one.until > at) continue
        sleepers.delete(one)
        one.wake()
      }
      await delay(5)
    },
  }
}
