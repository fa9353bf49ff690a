import { expect, test } from 'vitest'
import { denied } from '../../../sidecar/decision.ts'
import { openTrust } from './beliefs.ts'

const AT = 1_790_000_000_000

test('before the first snapshot nothing can be permitted', () => {
  const { store } = openTrust()
  expect(store.current(AT)).toMatchObject({ kind: 'deny', reason: 'not_ready' })
  expect(store.installed()).toBeUndefined()
  expect(store.obstacle(AT)).toBe('not_ready')
})

test('a snapshot is whole, frozen, and the same object for everyone until the next one', async () => {
  const { store, state } = openTrust()
  await state({})
  const first = store.current(AT)
  expect(Object.isFrozen(first)).toBe(true)
  expect(store.current(AT)).toBe(first)
  expect(store.installed()).toBe(first)
  await state({})
  expect(store.current(AT)).not.toBe(first)
})

test.each([
  [0, 'believed'],
  [-4_999, 'believed'],
  [-5_000, 'believed'],
  [-5_001, 'clock_unsafe'],
  [-86_400_000, 'clock_unsafe'],
  [1, 'believed'],
  [86_400_000, 'believed'],
])('001-15: a wall clock that moves by %i ms: %s', async (step, want) => {
  const { store, state } = openTrust()
  await state({})
  store.current(AT)
  const trust = store.current(AT + step)
  expect(denied(trust) ? trust.reason : 'believed').toBe(want)
})

test('small steps back do not add up: the latest time ever seen counts', async () => {
  const { store, state } = openTrust()
  await state({})
  store.current(AT)
  expect(store.obstacle(AT - 3_000)).toBeUndefined()
  expect(store.obstacle(AT - 5_000)).toBeUndefined()
  expect(store.obstacle(AT - 6_000)).toBe('clock_unsafe')
})

test('an unsafe clock that catches up is safe again', async () => {
  const { store, state } = openTrust()
  await state({})
  store.current(AT)
  expect(store.obstacle(AT - 60_000)).toBe('clock_unsafe')
  expect(store.obstacle(AT - 5_000)).toBeUndefined()
})

test('a new snapshot does not make an unsafe clock safe', async () => {
  const { store, state } = openTrust()
  await state({})
  store.current(AT)
  await state({})
  expect(store.obstacle(AT - 60_000)).toBe('clock_unsafe')
})
