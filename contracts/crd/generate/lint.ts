import type { Structural } from './structural.ts'

/**
 * What our conventions ask beyond what the API server insists on: everything described, everything bounded (the budget of CEL
 * depends on it), every list with an identity, every rule with a message and an expression of RE2. Returns the problems.
 */
export function lint(schema: Structural, place: string): readonly string[] {
  return [
    ...CHECKS.flatMap(({ says, broken }) => (broken(schema) ? [`${place}: ${says}`] : [])),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, child]) => lint(child, `${place}.${name}`)),
    ...(schema.additionalProperties ? lint(schema.additionalProperties, `${place}{}`) : []),
    ...(schema.items ? lint(schema.items, `${place}[]`) : []),
  ]
}

interface Check {
  readonly says: string
  readonly broken: (schema: Structural) => boolean
}

// Look-around and back references: V8 takes them, RE2 does not.
const NOT_RE2 = /\(\?[=!<]|\\[1-9]/

const CHECKS: readonly Check[] = [
  { says: 'has no type', broken: ({ type }) => type === undefined },
  { says: 'has no description', broken: ({ description }) => !description },
  {
    says: 'is text without maxLength',
    broken: ({ type, maxLength, format, enum: values }) =>
      type === 'string' && maxLength === undefined && format !== 'date-time' && !values,
  },
  {
    says: 'is a number without format and minimum',
    broken: ({ type, format, minimum }) => type === 'integer' && (!format || minimum === undefined),
  },
  { says: 'is a fraction; use an integer or text', broken: ({ type }) => type === 'number' },
  {
    says: 'is a list without maxItems and x-kubernetes-list-type',
    broken: (one) =>
      one.type === 'array' && (one.maxItems === undefined || !one['x-kubernetes-list-type'] || !one.items),
  },
  {
    says: 'is a map without maxProperties',
    broken: ({ additionalProperties, maxProperties }) =>
      additionalProperties !== undefined && maxProperties === undefined,
  },
  { says: 'is a list map with a key that is neither required nor defaulted', broken: keyless },
  {
    says: 'has a rule without message',
    broken: (one) => (one['x-kubernetes-validations'] ?? []).some(({ message }) => !message.trim()),
  },
  {
    says: 'has a rule with an expression that is not RE2',
    broken: (one) => (one['x-kubernetes-validations'] ?? []).some(({ rule }) => NOT_RE2.test(rule)),
  },
]

function keyless(schema: Structural): boolean {
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  if (schema['x-kubernetes-list-type'] === 'map' && keys.length === 0) return true
  const { required = [], properties = {} } = schema.items ?? {}
  return keys.some((key) => !required.includes(key) && properties[key]?.default === undefined)
}
