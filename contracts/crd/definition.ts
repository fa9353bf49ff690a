import { z } from 'zod'
import { API_VERSION, type Resource } from '../crd.ts'
import type { Rule } from './schema.ts'

/** One kind, complete: from this come its CRD, its type, its parser and its page. */
export interface Definition<
  Spec extends z.ZodObject = z.ZodObject,
  Status extends z.ZodObject = z.ZodObject,
> {
  readonly resource: Resource
  readonly about: string
  readonly spec: Spec
  readonly status: Status
  /** Between Ready and Age of `kubectl get`. */
  readonly columns: readonly Column[]
}

export interface Column {
  readonly name: string
  readonly jsonPath: string
  readonly description: string
  readonly type?: 'string' | 'integer' | 'date'
  /** Shown with `-o wide` only. */
  readonly wide?: true
}

export interface Metadata {
  readonly name: string
  /** Empty for a cluster-scoped kind. */
  readonly namespace: string
  /** Empty before the API server stored the object. */
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  readonly creationTimestamp: string
  readonly deletionTimestamp?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly finalizers: readonly string[]
}

export interface Stored<Spec, Status> {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: Metadata
  readonly spec: Frozen<Spec>
  readonly status?: Frozen<Status>
}

/** The TypeScript type of a kind. */
export type Of<D extends Definition> = Stored<z.output<D['spec']>, z.output<D['status']>>

export type Frozen<T> = T extends (infer I)[]
  ? readonly Frozen<I>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T

/** A value, or every problem that was found, each with place and remedy. */
export type Outcome<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] }

const metadata = z.object({
  name: z.string().min(1),
  namespace: z.string().default(''),
  uid: z.string().default(''),
  resourceVersion: z.string().default(''),
  generation: z.int().default(0),
  creationTimestamp: z.string().default(''),
  deletionTimestamp: z.string().exactOptional(),
  labels: z.record(z.string(), z.string()).default({}),
  annotations: z.record(z.string(), z.string()).default({}),
  finalizers: z.array(z.string()).default([]),
})

/**
 * Parser of one kind, compiled once. It applies defaults and finds what the API server would, and what CEL cannot say; it
 * trusts nothing, for a webhook and an older schema may show it anything. `rules` are those that need metadata, which CEL may
 * not read (but for the name).
 */
export function parserOf<D extends Definition>(
  { resource, spec, status }: D,
  rules: readonly Rule<Of<D>>[] = [],
): (object: unknown) => Outcome<Of<D>> {
  const whole = z.object({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(resource.kind),
    metadata,
    spec,
    status: status.exactOptional(),
  })
  return (object) => {
    const parsed = whole.safeParse(object)
    if (!parsed.success) return { ok: false, problems: parsed.error.issues.map(told) }
    const value = parsed.data as unknown as Of<D>
    const broken = rules.filter(({ holds }) => holds && !holds(value))
    if (broken.length > 0) return { ok: false, problems: broken.map(({ at, says }) => `${at}: ${says}`) }
    return { ok: true, value }
  }
}

type Issue = z.core.$ZodIssue

function told(issue: Issue): string {
  const place = issue.path.reduce<string>(
    (before, step) =>
      typeof step === 'number' ? `${before}[${step}]` : before ? `${before}.${String(step)}` : String(step),
    '',
  )
  return `${place || 'the object'}: ${remedy(issue)}`
}

function remedy(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? `is required; add it (${issue.expected})`
        : `must be of type ${issue.expected}`
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}`
    case 'too_big':
      return `must ${sizing(issue.origin)} at most ${issue.maximum}${unit(issue.origin)}; shorten it`
    case 'too_small':
      return `must ${sizing(issue.origin)} at least ${issue.minimum}${unit(issue.origin)}; add to it`
    case 'invalid_format':
      return issue.format === 'datetime'
        ? 'must be a date and time with zone, such as 2030-01-31T12:00:00Z'
        : issue.message
    default:
      return issue.message
  }
}

const sizing = (origin: string): string => (origin === 'string' || origin === 'array' ? 'have' : 'be')
const unit = (origin: string): string =>
  origin === 'string' ? ' characters' : origin === 'array' ? ' entries' : ''
