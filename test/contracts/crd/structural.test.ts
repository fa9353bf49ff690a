import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { lint } from '../../../contracts/crd/generate/lint.ts'
import { type Structural, structural } from '../../../contracts/crd/generate/structural.ts'
import {
  choice,
  duration,
  list,
  listMap,
  moment,
  object,
  set,
  text,
  whole,
} from '../../../contracts/crd/schema.ts'

// zod to structural schema: what the API server takes, and what must never reach it. That it takes it is shown in test/cluster.

const d = 'What it means.'

describe('forms the API server takes', () => {
  const rows: readonly (readonly [string, z.ZodType, Structural])[] = [
    ['text', text(d, { max: 5 }), { description: d, type: 'string', minLength: 1, maxLength: 5 }],
    ['text that may be empty', text(d, { max: 5, min: 0 }), { description: d, type: 'string', maxLength: 5 }],
    [
      'a default, which is then not required',
      object(d, { a: text(d, { max: 5 }).default('b'), c: text(d, { max: 5 }) }),
      {
        description: d,
        type: 'object',
        required: ['c'],
        properties: {
          a: { description: d, type: 'string', default: 'b', minLength: 1, maxLength: 5 },
          c: { description: d, type: 'string', minLength: 1, maxLength: 5 },
        },
      },
    ],
    [
      'a default object with the defaults within it, for CEL sees it as written',
      object(d, { a: whole(d).default(3) }).prefault({}),
      {
        description: d,
        type: 'object',
        default: { a: 3 },
        properties: { a: { description: d, type: 'integer', format: 'int64', default: 3, minimum: 0 } },
      },
    ],
    [
      'a closed object, left to pruning',
      z.strictObject({}).meta({ description: d }),
      { description: d, type: 'object', properties: {} },
    ],
    [
      'a number without bounds of a double',
      whole(d),
      { description: d, type: 'integer', format: 'int64', minimum: 0 },
    ],
    ['a date without a pattern', moment(d), { description: d, type: 'string', format: 'date-time' }],
    ['a choice', choice(d, ['A', 'B']), { description: d, type: 'string', enum: ['A', 'B'] }],
    [
      'a set, not uniqueItems',
      set(d, choice(d, ['A']), { min: 1, max: 2 }),
      {
        description: d,
        type: 'array',
        minItems: 1,
        maxItems: 2,
        'x-kubernetes-list-type': 'set',
        items: { description: d, type: 'string', enum: ['A'] },
      },
    ],
    [
      'a list by key',
      listMap(d, object(d, { k: choice(d, ['A']) }), { keys: ['k'], max: 2 }),
      {
        description: d,
        type: 'array',
        maxItems: 2,
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['k'],
        items: {
          description: d,
          type: 'object',
          required: ['k'],
          properties: { k: { description: d, type: 'string', enum: ['A'] } },
        },
      },
    ],
    [
      'a schema used twice, written twice',
      (() => {
        const shared = choice(d, ['A'])
        return object(d, { a: shared, b: shared })
      })(),
      {
        description: d,
        type: 'object',
        required: ['a', 'b'],
        properties: {
          a: { description: d, type: 'string', enum: ['A'] },
          b: { description: d, type: 'string', enum: ['A'] },
        },
      },
    ],
  ]
  test.each(rows)('%s', (_name, schema, expected) => {
    const made = structural(schema, 'x')
    expect(made).toEqual(expected)
    expect(lint(made, 'x')).toEqual([])
  })

  test('a rule keeps its expression, message and place', () => {
    const made = structural(duration(d, { from: '1s', to: '1m', such: '5s' }), 'x')
    expect(made['x-kubernetes-validations']).toEqual([
      {
        rule: "self.matches(r'^[0-9]{1,6}(ms|s|m|h)$') && duration(self) >= duration('1s') && duration(self) <= duration('1m')",
        message: 'must be a duration from 1s to 1m, written such as 5s',
      },
    ])
  })
})

describe('forms the API server refuses stop the generator', () => {
  const member = z.object({ t: z.literal('a') })
  test.each([
    ['a union', z.union([z.string(), z.int()]), 'anyOf'],
    ['a discriminated union', z.discriminatedUnion('t', [member, z.object({ t: z.literal('b') })]), 'oneOf'],
    ['null', z.string().nullable(), 'nullable'],
    ['an expression instead of a rule', z.string().regex(/^a$/), 'pattern'],
    ['a tuple', z.tuple([z.string(), z.int()]), 'anyOf'],
    ['an exclusive bound', z.int().gt(0), 'exclusiveMinimum'],
  ])('%s', (_name, schema, form) => {
    expect(() => structural(z.object({ x: schema }), 'k')).toThrow(new RegExp(`k\\.x.*${form}`))
  })

  test('recursion', () => {
    const node: z.ZodType = z.object({
      get next() {
        return node.optional()
      },
    })
    expect(() => structural(node, 'k')).toThrow(/[Cc]ycle/)
  })
})

describe('conventions: each planted breach is found', () => {
  const good: Structural = { description: d, type: 'string', maxLength: 5 }
  test.each([
    ['no type', { description: d }, 'has no type'],
    ['no description', { type: 'string', maxLength: 5 }, 'has no description'],
    ['text without bound', { description: d, type: 'string' }, 'is text without maxLength'],
    ['a number without format', { description: d, type: 'integer', minimum: 0 }, 'number without format'],
    ['a fraction', { description: d, type: 'number' }, 'is a fraction'],
    [
      'a list without bound',
      { description: d, type: 'array', 'x-kubernetes-list-type': 'set', items: good },
      'maxItems',
    ],
    [
      'a list without identity',
      { description: d, type: 'array', maxItems: 1, items: good },
      'x-kubernetes-list-type',
    ],
    ['a map without bound', { description: d, type: 'object', additionalProperties: good }, 'maxProperties'],
    [
      'a key that may be missing',
      {
        description: d,
        type: 'array',
        maxItems: 1,
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['k'],
        items: { description: d, type: 'object', properties: { k: good } },
      },
      'neither required nor defaulted',
    ],
    [
      'a silent rule',
      { ...good, 'x-kubernetes-validations': [{ rule: 'true', message: ' ' }] },
      'without message',
    ],
    [
      'look-ahead',
      { ...good, 'x-kubernetes-validations': [{ rule: "self.matches(r'^(?!a)')", message: 'm' }] },
      'not RE2',
    ],
    [
      'something deep',
      { description: d, type: 'object', properties: { a: { description: d } } },
      'k.a: has no type',
    ],
  ] as readonly (readonly [string, Structural, string])[])('%s', (_name, schema, problem) => {
    expect(lint(schema, 'k').join('\n')).toContain(problem)
  })

  test('an undefined list', () => {
    expect(lint(structural(list(d, text(d, { max: 1 }), { max: 1 }), 'k'), 'k')).toEqual([])
  })
})
