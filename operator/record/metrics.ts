import { Counter, Gauge, Histogram, Registry } from 'prom-client'

/** One metric as its room declares it. Structurally what `kube/metrics.ts` and the others export. */
export interface Declaration {
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  readonly help: string
  /** Upper bounds, seconds; histograms only. */
  readonly buckets?: readonly number[]
}

export type Labels = Readonly<Record<string, string>>

/** Where numbers go. Never throws, never waits; a name or label that nobody declared is a mistake of ours and is counted as one. */
export interface Metrics {
  add(name: string, labels: Labels, by?: number): void
  set(name: string, labels: Labels, value: number): void
  observe(name: string, labels: Labels, value: number): void
  /** Forgets all samples of a gauge, so that what is gone is not told for ever. */
  reset(name: string): void
  /** Prometheus text format 0.0.4. */
  text(): Promise<string>
  readonly contentType: string
}

/** A registry of exactly the declared metrics. Called before each scrape: `collect`, for numbers that are read rather than counted. */
export function createMetrics(
  declared: Readonly<Record<string, Declaration>>,
  collect: () => void = () => undefined,
): Metrics {
  const registry = new Registry()
  const mistakes = new Counter({
    name: 'portcullis_metric_mistakes_total',
    help: 'Samples for metrics or labels that were never declared.',
    registers: [registry],
  })
  const counters = new Map<string, Counter<string>>()
  const gauges = new Map<string, Gauge<string>>()
  const histograms = new Map<string, Histogram<string>>()
  for (const [name, { kind, labels, help, buckets }] of Object.entries(declared)) {
    const about = { name, help, labelNames: [...labels], registers: [registry] }
    if (kind === 'counter') counters.set(name, new Counter(about))
    else if (kind === 'gauge') gauges.set(name, new Gauge(about))
    else histograms.set(name, new Histogram({ ...about, ...(buckets ? { buckets: [...buckets] } : {}) }))
  }
  const guarded = (act: () => void): void => {
    try {
      act()
    } catch {
      mistakes.inc()
    }
  }
  const known = <T>(found: T | undefined): T => {
    if (!found) throw new Error('never declared')
    return found
  }
  return {
    contentType: registry.contentType,
    add: (name, labels, by = 1) => guarded(() => known(counters.get(name)).inc(labels, by)),
    set: (name, labels, value) => guarded(() => known(gauges.get(name)).set(labels, value)),
    observe: (name, labels, value) => guarded(() => known(histograms.get(name)).observe(labels, value)),
    reset: (name) => guarded(() => known(gauges.get(name)).reset()),
    text() {
      collect()
      return registry.metrics()
    },
  }
}
