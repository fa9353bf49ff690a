import { z } from 'zod'

/** The part of JSON Schema that the API server takes as structural, plus its own extensions. */
export interface Structural {
  readonly description?: string
  readonly type?: string
  readonly format?: string
  readonly default?: unknown
  readonly enum?: readonly unknown[]
  readonly properties?: Readonly<Record<string, Structural>>
  readonly required?: readonly string[]
  readonly additionalProperties?: Structural
  readonly items?: Structural
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly maxProperties?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-validations'?: readonly Validation[]
}

export interface Validation {
  readonly rule: string
  readonly message: string
  readonly fieldPath?: string
}

/** Order of members in the written file. What is not here is not written, and `unstructured` says so. */
const MEMBERS = [
  'description',
  'type',
  'format',
  'default',
  'enum',
  'minLength',
  'maxLength',
  'minimum',
  'maximum',
  'minItems',
  'maxItems',
  'maxProperties',
  'x-kubernetes-list-type',
  'x-kubernetes-list-map-keys',
  'x-kubernetes-validations',
  'required',
  'additionalProperties',
  'properties',
  'items',
] as const satisfies readonly (keyof Structural)[]

type Raw = Readonly<Record<string, unknown>>

/**
 * zod to structural schema. The older OpenAPI form, because a 2020-12 `type` may be an array; the input side, because a field
 * with a default is not required of a writer. Throws with every construct that the API server would refuse.
 */
export function structural(schema: z.ZodType, place: string): Structural {
  const raw = z.toJSONSchema(schema, {
    target: 'openapi-3.0',
    io: 'input',
    reused: 'inline',
    cycles: 'throw',
    unrepresentable: 'throw',
  }) as Raw
  const problems: string[] = []
  const clean = walk(raw, place, problems)
  if (problems.length > 0) throw new TypeError(`not structural:\n${problems.join('\n')}`)
  return clean
}

function walk(raw: Raw, place: string, problems: string[]): Structural {
  const trimmed = trim(raw)
  const unknown = Object.keys(trimmed).filter((member) => !MEMBERS.includes(member as never))
  problems.push(...unknown.map((member) => `${place}: ${member} has no place in a structural schema`))
  const children: Raw = {
    ...(isRaw(trimmed['properties'])
      ? {
          properties: Object.fromEntries(
            Object.entries(trimmed['properties']).map(([name, child]) => [
              name,
              walk(child as Raw, `${place}.${name}`, problems),
            ]),
          ),
        }
      : {}),
    ...(isRaw(trimmed['additionalProperties'])
      ? { additionalProperties: walk(trimmed['additionalProperties'], `${place}{}`, problems) }
      : {}),
    ...(isRaw(trimmed['items']) ? { items: walk(trimmed['items'], `${place}[]`, problems) } : {}),
  }
  const whole: Raw = spelledOut({ ...trimmed, ...children })
  return Object.fromEntries(
    MEMBERS.flatMap((member) => (whole[member] === undefined ? [] : [[member, whole[member]]])),
  )
}

// The API server runs CEL on a default as it is written, before the defaults within it are filled in.
function spelledOut(schema: Raw): Raw {
  const { default: start, properties } = schema
  if (!isRaw(start) || !isRaw(properties)) return schema
  const within = Object.entries(properties as Readonly<Record<string, Structural>>).flatMap(
    ([name, child]) => (child.default === undefined ? [] : [[name, child.default]]),
  )
  return { ...schema, default: { ...Object.fromEntries(within), ...start } }
}

/** What zod adds and nobody asked for: bounds of a double, the pattern of a date, the closing of an object that pruning does. */
function trim(raw: Raw): Raw {
  const dropped = Object.entries(raw).filter(([member, value]) => {
    if (member === '$schema') return false
    if (member === 'additionalProperties') return value !== false
    if (member === 'pattern') return raw['format'] !== 'date-time'
    if (member === 'maximum') return value !== Number.MAX_SAFE_INTEGER
    return true
  })
  return Object.fromEntries(dropped)
}

function isRaw(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null
}
