import { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import type { KubeObject, ObjectMeta } from '../kube/resource.ts'
import type { Outcome } from '../ports.ts'
import { formatTable, type GenerationTable, parseTable } from '../state/generations.ts'
import { formatSegment, parseSegment, type Segment } from '../state/revocation-segments.ts'
import { type BundleHead, type BundlePart, formatHead, parseHead, parsePart } from './bundle-facts.ts'
import { formatKeySet, parseKeySet, type StoredKeySet } from './key-set-facts.ts'

/** Label of everything the operator remembers; who watches it sees all of it and nothing else. */
export const PART_LABEL = 'portcullis.dev/part'
export const STATE = 'state'
/** Label that says which kind of fact an object holds. */
export const FACT_LABEL = 'portcullis.dev/fact'

/** What one ConfigMap holds. */
export type Fact =
  | { readonly kind: 'generations'; readonly table: GenerationTable }
  | { readonly kind: 'revocations'; readonly segment: Segment }
  | { readonly kind: 'jwks'; readonly keySet: StoredKeySet }
  | { readonly kind: 'bundle'; readonly head: BundleHead }
  | { readonly kind: 'bundle-part'; readonly part: BundlePart }
  | { readonly kind: 'trust-bundle'; readonly bundle: TrustBundle }
export type FactKind = Fact['kind']

/** A ConfigMap as far as facts are concerned. */
export interface FactObject extends KubeObject {
  readonly metadata: ObjectMeta
  readonly data?: Readonly<Record<string, string>>
  readonly binaryData?: Readonly<Record<string, string>>
}

export const GENERATIONS_NAME = 'portcullis-generations'
export const TRUST_BUNDLE_NAME = 'portcullis-trust-bundle'
export const segmentName = (number: number): string => `portcullis-revocations-${number}`

/** Reads a fact. What it does not understand is a problem, never an empty fact. */
export function readFact(object: FactObject): Outcome<Fact> {
  const kind = object.metadata.labels?.[FACT_LABEL] ?? ''
  const text = object.data?.['text'] ?? ''
  switch (kind) {
    case 'generations':
      return mapped(parseTable(text), (table) => ({ kind, table }))
    case 'revocations':
      return mapped(parseSegment(text), (segment) => ({ kind, segment }))
    case 'jwks':
      return mapped(parseKeySet(text, binary(object, 'document')), (keySet) => ({ kind, keySet }))
    case 'bundle':
      return mapped(parseHead(text), (head) => ({ kind, head }))
    case 'bundle-part':
      return mapped(parsePart(text, binary(object, 'content')), (part) => ({ kind, part }))
    case 'trust-bundle':
      return mapped(parseTrustBundle(binary(object, 'bundle')), (bundle) => ({ kind, bundle }))
    default:
      return { ok: false, problems: [`ConfigMap ${object.metadata.name}: label ${FACT_LABEL} names no fact`] }
  }
}

/** Content of the ConfigMap for a fact that is told as text, with an optional binary member. */
export interface Written {
  readonly name: string
  readonly kind: FactKind
  readonly text: string
  readonly binary?: Readonly<Record<string, Buffer>>
}

export function writtenTable(table: GenerationTable): Written {
  return { name: GENERATIONS_NAME, kind: 'generations', text: formatTable(table) }
}

export function writtenSegment(segment: Segment): Written {
  return { name: segmentName(segment.number), kind: 'revocations', text: formatSegment(segment) }
}

export function writtenKeySet(keySet: StoredKeySet): Written {
  return { kind: 'jwks', ...formatKeySet(keySet) }
}

export function writtenHead(head: BundleHead): Written {
  return { kind: 'bundle', ...formatHead(head) }
}

/** The whole ConfigMap; `before` lends the version that it replaces. */
export function objectOf(written: Written, namespace: string, before: FactObject | undefined): object {
  const { name, kind, text, binary: parts = {} } = written
  const version = before?.metadata.resourceVersion
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name,
      namespace,
      labels: { [PART_LABEL]: STATE, [FACT_LABEL]: kind },
      ...(version === undefined ? {} : { resourceVersion: version }),
    },
    data: { text },
    binaryData: Object.fromEntries(
      Object.entries(parts).map(([key, value]) => [key, value.toString('base64')]),
    ),
  }
}

function binary(object: FactObject, key: string): Buffer {
  return Buffer.from(object.binaryData?.[key] ?? '', 'base64')
}

function parseTrustBundle(bytes: Buffer): Outcome<TrustBundle> {
  try {
    const bundle = TrustBundle.decode(bytes)
    if (bundle.sequence > 0 && bundle.x509Roots.length > 0) return { ok: true, value: bundle }
  } catch {
    // Falls through to the one refusal below.
  }
  return { ok: false, problems: ['the trust bundle cannot be read: it is damaged or empty'] }
}

function mapped<T, R>(outcome: Outcome<T>, make: (value: T) => R): Outcome<R> {
  return outcome.ok ? { ok: true, value: make(outcome.value) } : outcome
}
