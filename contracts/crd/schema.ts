import { z } from 'zod'
import { DURATION, parseDuration } from './duration.ts'

/**
 * The vocabulary our kinds are written in: zod types that are structural, bounded and described, with each rule said once,
 * as CEL for the API server and as a predicate for the runtime parser. Forms that the API server refuses (unions, nullable
 * types, `$ref`) have no word here; the generator fails on them.
 */

/** One thing that must hold. `says` tells what to do; the field's path is put before it by whoever reports. */
export interface Rule<T> {
  readonly says: string
  /** Absent: CEL cannot say it, and the operator's admission webhook does, through the runtime parser. */
  readonly cel?: string
  /** Absent: a transition (`oldSelf`), which only the API server sees. */
  readonly holds?: (value: T) => boolean
  /** Member the problem is reported at; the ruled value itself when absent. */
  readonly at?: string
}

/** Adds rules; all of one value in one call. */
export function ruled<S extends z.ZodType>(schema: S, ...rules: readonly Rule<z.output<S>>[]): S {
  let checked = schema
  for (const { holds, says, at } of rules) {
    if (holds) checked = checked.refine(holds, { message: says, path: at ? [at] : [] })
  }
  const server = rules.flatMap(({ cel, says, at }) =>
    cel ? [{ rule: cel, message: says, ...(at ? { fieldPath: `.${at}` } : {}) }] : [],
  )
  const before = (schema.meta()?.['x-kubernetes-validations'] as readonly object[] | undefined) ?? []
  const all = [...before, ...server]
  const admission = rules.flatMap(({ cel, says }) => (cel ? [] : [` Checked at admission: ${says}.`]))
  return checked.meta({
    ...(all.length > 0 ? { 'x-kubernetes-validations': all } : {}),
    ...(admission.length > 0 ? { description: `${schema.meta()?.description}${admission.join('')}` } : {}),
  })
}

/** Plain text, never empty unless `min` says so. */
export function text(description: string, { max, min = 1 }: { readonly max: number; readonly min?: number }) {
  const most = z.string().max(max)
  return (min > 0 ? most.min(min) : most).meta({ description })
}

export interface Form {
  readonly max: number
  /** RE2 subset, without single quotes. */
  readonly pattern: string
  readonly says: string
}

/** Text of one form. As a rule and not as `pattern`: an expression is no remedy. */
export function formed(description: string, { max, pattern, says }: Form) {
  const form = new RegExp(pattern)
  return ruled(text(description, { max }), {
    says,
    cel: `self.matches(r'${pattern}')`,
    holds: (value) => form.test(value),
  })
}

/** A duration between two others, both allowed; `why` explains the limit to whoever asks for more. */
export function duration(
  description: string,
  {
    from,
    to,
    such,
    why,
  }: { readonly from: string; readonly to: string; readonly such: string; readonly why?: string },
) {
  const [least, most] = [parseDuration(from) ?? Number.NaN, parseDuration(to) ?? Number.NaN]
  return ruled(text(description, { max: 16 }), {
    says: `must be a duration from ${from} to ${to}, written such as ${such}${why ? `: ${why}` : ''}`,
    cel: `self.matches(r'${DURATION}') && duration(self) >= duration('${from}') && duration(self) <= duration('${to}')`,
    holds: (value) => {
      const ms = parseDuration(value)
      return ms !== undefined && ms >= least && ms <= most
    },
  })
}

export function choice<const V extends readonly [string, ...string[]]>(description: string, values: V) {
  return z.enum(values).meta({ description })
}

/** RFC 3339 with zone. */
export function moment(description: string) {
  return z.iso.datetime({ offset: true }).meta({ description, format: 'date-time' })
}

export function whole(
  description: string,
  { from = 0, to }: { readonly from?: number; readonly to?: number } = {},
) {
  const base = z.int().min(from)
  return (to === undefined ? base : base.max(to)).meta({ description, format: 'int64' })
}

/** A fact of a status. Modes of a spec are choices, which can grow a third value. */
export function flag(description: string) {
  return z.boolean().meta({ description })
}

/** Members in declaration order. Unknown ones are dropped, as the API server does: a newer schema's defaults must not stop us. */
export function object<S extends z.ZodRawShape>(description: string, shape: S) {
  return z.object(shape).meta({ description })
}

export interface Count {
  readonly min?: number
  readonly max: number
}

/** A list without identity: whoever applies it owns all of it. */
export function list<S extends z.ZodType>(description: string, item: S, { min, max }: Count) {
  return bounded(item, { max, ...(min === undefined ? {} : { min }) }).meta({
    description,
    'x-kubernetes-list-type': 'atomic',
  })
}

/** Distinct scalars; several appliers merge. */
export function set<S extends z.ZodType<string>>(description: string, item: S, { min, max }: Count) {
  return bounded(item, { max, ...(min === undefined ? {} : { min }) })
    .refine((values) => new Set(values).size === values.length, {
      message: 'has a value twice; each may be there once',
    })
    .meta({ description, 'x-kubernetes-list-type': 'set' })
}

/** Objects told apart by `keys`, each required or defaulted; several appliers merge by them. */
export function listMap<S extends z.ZodType<object>>(
  description: string,
  item: S,
  { keys, min, max }: Count & { readonly keys: readonly (keyof z.output<S> & string)[] },
) {
  const identity = (one: z.output<S>): string => JSON.stringify(keys.map((key) => one[key]))
  return bounded(item, { max, ...(min === undefined ? {} : { min }) })
    .refine((items) => new Set(items.map(identity)).size === items.length, {
      message: `has two entries with the same ${keys.join(' and ')}; merge them`,
    })
    .meta({ description, 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': [...keys] })
}

function bounded<S extends z.ZodType>(item: S, { min = 0, max }: Count) {
  const items = z.array(item).max(max)
  return min > 0 ? items.min(min) : items
}

/** Text that never changes once given. */
export function immutable<T>(what: string, remedy: string): Rule<T> {
  return { says: `${what} is immutable: ${remedy}`, cel: 'self == oldSelf' }
}

/** A union the structural way: the member that `discriminator` names must be there, and no other one. */
export function memberPerType<T extends object>(
  members: Readonly<Record<string, keyof T & string>>,
): readonly Rule<T>[] {
  return Object.entries(members).map(([type, member]) => ({
    says: `goes with type ${type} and only with it: give ${member}, or change type`,
    cel: `(self.type == '${type}') == has(self.${member})`,
    holds: (value) =>
      ((value as { readonly type?: unknown }).type === type) === (value[member] !== undefined),
    at: member,
  }))
}
