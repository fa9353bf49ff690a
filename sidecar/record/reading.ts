import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type { Histogram }

export interface Sample {
  readonly value: number
  readonly labels: Readonly<Record<string, string>>
}

/** A metric whose numbers are kept elsewhere and read at each scrape. */
export interface Reading {
  readonly kind: 'counter' | 'gauge'
  readonly name: string
  readonly help: string
  readonly read: () => readonly Sample[]
}

export function sample(value: number, labels: Sample['labels'] = {}): Sample {
  return { value, labels }
}

export function counted(name: string, help: string, read: () => readonly Sample[]): Reading {
  return { kind: 'counter', name, help, read }
}

export function gauge(name: string, help: string, read: () => readonly Sample[]): Reading {
  return { kind: 'gauge', name, help, read }
}

export function measured(name: string, help: string, read: () => number): Reading {
  return { kind: 'gauge', name, help, read: () => [sample(read())] }
}

/** Every label there is. What is in none of the closed lists behind them can be no label value. */
const LABELS = ['outcome', 'reason', 'result', 'issuer', 'revision', 'tier', 'kind', 'state', 'circuit']

export function expose(registry: Registry, { kind, name, help, read }: Reading): void {
  const Metric = kind === 'counter' ? Counter : Gauge
  new Metric({
    name,
    help,
    labelNames: LABELS,
    registers: [registry],
    collect() {
      this.reset()
      for (const { value, labels } of read()) this.inc(labels, value)
    },
  })
}

export interface Spread {
  readonly name: string
  readonly help: string
  /** Upper bounds. */
  readonly buckets: readonly number[]
  readonly labels?: readonly string[]
}

/** A histogram that is in no registry yet. */
export function spread({ name, help, buckets, labels = [] }: Spread): Histogram<string> {
  return new Histogram({
    name,
    help,
    buckets: [...buckets],
    labelNames: [...labels],
    registers: [],
  })
}
