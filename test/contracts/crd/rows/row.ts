import type { Definition, Outcome } from '../../../../contracts/crd/definition.ts'

// Tables that the runtime parser (here) and the real API server (test/cluster) both have to agree with, row by row.

/** Dotted path in spec (`entries.0.value`) to new value; `undefined` takes the member away. */
export type Change = Readonly<Record<string, unknown>>

export interface Accepted {
  readonly name: string
  readonly change: Change
}

export interface Refused extends Accepted {
  /** Where the parser must say it; the API server at the same place unless `at` differs. */
  readonly field: string
  /** What to do about it: part of the message. */
  readonly says: string
  /** The API server's own words where the refusal is of its making (types, enums, sizes). */
  readonly server?: string
  /** CEL cannot see it: the server accepts, and the operator's webhook refuses. */
  readonly admissionOnly?: true
}

/** A change of an object that was accepted. */
export interface Frozen extends Accepted {
  /** Change of the sample before it is created. */
  readonly from?: Change
  readonly field: string
  readonly says: string
}

export interface Rows {
  readonly definition: Definition
  readonly parse: (object: unknown) => Outcome<{ readonly spec: unknown }>
  /** Nothing but what is required. */
  readonly sample: Readonly<Record<string, unknown>>
  /** The sample with every default: what both sides make of it. */
  readonly defaulted: Readonly<Record<string, unknown>>
  readonly accepted: readonly Accepted[]
  readonly refused: readonly Refused[]
  readonly frozen: readonly Frozen[]
  /** Without conditions: every field that the kind's status has. */
  readonly status: Readonly<Record<string, unknown>>
  /** Header of `kubectl get`, without NAMESPACE. */
  readonly columns: readonly string[]
}

export const NAMESPACE = 'shop'

/** The sample with changes, as an object to send or to parse. */
export function objectOf(
  rows: Rows,
  { name = 'sample', change = {} }: { readonly name?: string; readonly change?: Change } = {},
) {
  const { kind, scope } = rows.definition.resource
  return {
    apiVersion: 'portcullis.dev/v1alpha1',
    kind,
    metadata: { name, ...(scope === 'Namespaced' ? { namespace: NAMESPACE } : {}) },
    spec: changed(rows.sample, change),
  }
}

export function changed(base: unknown, change: Change): Record<string, unknown> {
  const copy = structuredClone(base) as Record<string, unknown>
  for (const [path, value] of Object.entries(change)) put(copy, path.split('.'), value)
  return copy
}

function put(holder: Record<string, unknown>, [step = '', ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    if (value === undefined) delete holder[step]
    else holder[step] = value
    return
  }
  const inner = (holder[step] ?? {}) as Record<string, unknown>
  holder[step] = inner
  put(inner, rest, value)
}
