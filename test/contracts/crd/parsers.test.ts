import { describe, expect, test } from 'vitest'
import { durationMs, parseDuration } from '../../../contracts/crd/duration.ts'
import { CONDITIONS, type Kind, RESOURCES } from '../../../contracts/crd.ts'
import { ALL_ROWS } from './rows/all.ts'
import { objectOf, type Rows } from './rows/row.ts'

// What the runtime parsers accept and refuse. The same rows are put to a real API server in test/cluster.

test('every kind has its rows, eight of each at least', () => {
  expect(ALL_ROWS.map(({ definition }) => definition.resource.kind).sort()).toEqual(
    Object.keys(RESOURCES).sort(),
  )
  for (const { definition, accepted, refused } of ALL_ROWS) {
    expect(Math.min(accepted.length, refused.length), definition.resource.kind).toBeGreaterThanOrEqual(8)
  }
})

describe.each(ALL_ROWS.map((rows) => [rows.definition.resource.kind, rows] as const))('%s', (kind, rows) => {
  test('what is left out gets its default', () => {
    const parsed = rows.parse(objectOf(rows))
    expect(parsed.ok && parsed.value.spec).toEqual(rows.defaulted)
  })

  test.each(rows.accepted)('accepts $name', ({ change }) => {
    expect(problemsOf(rows, objectOf(rows, { change }))).toEqual([])
  })

  test.each(rows.refused)('refuses $name, with place and remedy', ({ change, field, says }) => {
    const problems = problemsOf(rows, objectOf(rows, { change }))
    expect(problems.filter((one) => one.startsWith(`${field}: `)).join('\n')).toContain(says)
  })

  test('reads back its own status', () => {
    const status = { ...rows.status, observedGeneration: 3, conditions: conditionsOf(kind as Kind) }
    const parsed = rows.parse({ ...objectOf(rows), status })
    expect(parsed).toMatchObject({ ok: true, value: { status } })
  })

  test('refuses another kind and another version', () => {
    const object = objectOf(rows)
    expect(problemsOf(rows, { ...object, kind: 'Pod' })).toEqual([`kind: must be one of ${kind}`])
    expect(problemsOf(rows, { ...object, apiVersion: 'v1' })).toEqual([
      'apiVersion: must be one of portcullis.dev/v1alpha1',
    ])
  })

  test('drops what it does not know, as the API server does', () => {
    const parsed = rows.parse(objectOf(rows, { change: { invented: 1 } }))
    expect(parsed.ok && parsed.value.spec).toEqual(rows.defaulted)
  })

  test.each([undefined, null, 'text', [], 7, {}])('is not thrown off by %j', (object) => {
    expect(problemsOf(rows, object)).not.toEqual([])
  })
})

test('all problems of an object are told at once', () => {
  const [rows] = ALL_ROWS
  const change = {
    issuer: 'http://idp.example',
    'jwks.maxStale': '6h',
    algorithms: ['none'],
    clockSkew: '2m',
  }
  const problems = rows ? problemsOf(rows, objectOf(rows, { change })) : []
  expect(problems.map((one) => one.split(':')[0])).toEqual([
    'spec.issuer',
    'spec.jwks.maxStale',
    'spec.algorithms[0]',
    'spec.clockSkew',
  ])
})

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['15m', 900_000],
    ['87600h', 315_360_000_000],
  ])('%s', (text, ms) => {
    expect([parseDuration(text), durationMs(text)]).toEqual([ms, ms])
  })
  test.each(['', '5', 's', '-1s', '1.5h', '1h30m', '1d', ' 1s', '1s\n', '1234567s', '١s'])(
    'not %j',
    (text) => {
      expect(parseDuration(text)).toBeUndefined()
      expect(() => durationMs(text)).toThrow(RangeError)
    },
  )
})

function problemsOf(rows: Rows, object: unknown): readonly string[] {
  const outcome = rows.parse(object)
  return outcome.ok ? [] : outcome.problems
}

function conditionsOf(kind: Kind): readonly object[] {
  return CONDITIONS[kind].map((type) => ({
    type,
    status: 'True',
    reason: 'AsAsked',
    message: '',
    lastTransitionTime: '2030-01-31T12:00:00Z',
    observedGeneration: 3,
  }))
}
