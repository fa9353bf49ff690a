import { setTimeout as delay } from 'node:timers/promises'
import type { KubeMetrics } from '../../operator/kube/metrics.ts'
import type { KubePorts } from '../../operator/kube/transport.ts'

// What the tests of operator/kube stand on: real clocks, and metrics and reports that can be read back.

export interface Ground extends KubePorts {
  readonly reports: readonly string[]
  /** The sum of a counter, the last value of a gauge, the number of observations of a histogram; over all labels that contain these. */
  count(name: string, labels?: Readonly<Record<string, string>>): number
}

export function createGround(over: Partial<KubePorts> = {}): Ground {
  const values = new Map<string, number>()
  const reports: string[] = []
  const idOf = (name: string, labels: object) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`
  const metrics: KubeMetrics = {
    add: (name, labels, by = 1) => {
      const id = idOf(name, labels)
      values.set(id, (values.get(id) ?? 0) + by)
    },
    set: (name, labels, value) => void values.set(idOf(name, labels), value),
    observe: (name, labels) => {
      const id = idOf(name, labels)
      values.set(id, (values.get(id) ?? 0) + 1)
    },
  }
  return {
    now: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    sleep: (ms, signal) => delay(ms, undefined, { signal, ref: false }),
    report: (event, facts) => void reports.push(`${event} ${JSON.stringify(facts ?? {})}`),
    metrics,
    ...over,
    reports,
    count(name, labels = {}) {
      const wanted = Object.entries(labels).map((pair) => JSON.stringify(pair))
      return [...values]
        .filter(([id]) => id.startsWith(`${name} `) && wanted.every((one) => id.includes(one)))
        .reduce((sum, [, value]) => sum + value, 0)
    },
  }
}

/** Waits until the claim holds; fails with what it last said. */
export async function eventually(claim: () => unknown, ms = 45_000): Promise<void> {
  const until = performance.now() + ms
  for (;;) {
    try {
      const result = await claim()
      if (result !== false) return
      if (performance.now() > until) throw new Error(`not true within ${ms} ms: ${claim}`)
    } catch (cause) {
      if (performance.now() > until) throw cause
    }
    await delay(20)
  }
}

export const soon = (ms = 20_000): AbortSignal => AbortSignal.timeout(ms)
