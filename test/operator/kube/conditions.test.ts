import { describe, expect, test } from 'vitest'
import type { Condition } from '../../../contracts/crd.ts'
import { conditionOf, setCondition } from '../../../operator/kube/conditions.ts'

const at = Date.UTC(2026, 10, 25, 12)
const later = at + 60_000
const next = {
  type: 'Ready',
  status: 'True',
  reason: 'Done',
  message: 'all 3',
  observedGeneration: 2,
} as const
const before: readonly Condition[] = [
  {
    type: 'Other',
    status: 'False',
    reason: 'No',
    message: '',
    lastTransitionTime: '2026-01-01T00:00:00Z',
    observedGeneration: 1,
  },
  { ...next, lastTransitionTime: '2026-11-25T12:00:00Z' },
]

describe('conditions', () => {
  test('a new one begins now', () => {
    expect(setCondition([], next, at)).toEqual([{ ...next, lastTransitionTime: '2026-11-25T12:00:00Z' }])
  })

  test('nothing new is the very same array', () => {
    expect(setCondition(before, next, later)).toBe(before)
  })

  test.each([
    ['reason', { reason: 'StillDone' }, '2026-11-25T12:00:00Z'],
    ['message', { message: 'all 4' }, '2026-11-25T12:00:00Z'],
    ['observedGeneration', { observedGeneration: 3 }, '2026-11-25T12:00:00Z'],
    ['status', { status: 'False' as const }, '2026-11-25T12:01:00Z'],
  ])('another %s: the transition time moves with the status only', (_, change, time) => {
    const after = setCondition(before, { ...next, ...change }, later)
    expect(conditionOf(after, 'Ready')).toEqual({ ...next, ...change, lastTransitionTime: time })
    expect(after[0]).toBe(before[0])
    expect(after).toHaveLength(2)
  })

  test('a message is cut at what the API takes', () => {
    expect(setCondition([], { ...next, message: 'x'.repeat(40_000) }, at)[0]?.message).toHaveLength(32_768)
  })
})
