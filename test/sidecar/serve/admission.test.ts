import { expect, test } from 'vitest'
import type { Sleep } from '../../../sidecar/ports.ts'
import { openAdmission } from '../../../sidecar/serve/admission.ts'
import { createFakeTime } from '../fake-time.ts'

const LIMITS = { inFlight: 3, lagMs: 100 }
const never = new AbortController().signal

test('as many as fit are let in, one more is refused, and a place that is left is free again', () => {
  const { now, sleep } = createFakeTime()
  const admission = openAdmission(LIMITS, now, sleep, never)
  expect([1, 2, 3, 4].map(() => admission.enter())).toEqual([true, true, true, false])
  expect(admission.inFlight()).toBe(3)
  admission.leave()
  expect([1, 2].map(() => admission.enter())).toEqual([true, false])
})

/** A loop that wakes each sleeper so much too late. */
function lateLoop() {
  const time = createFakeTime()
  let lateMs = 0
  const sleep: Sleep = (ms, signal) => time.sleep(ms + lateMs, signal)
  return {
    ...time,
    sleep,
    late: (ms: number) => {
      lateMs = ms
    },
  }
}

test('an event loop that stays late sheds everything; once it is in time again, it serves again', async () => {
  const loop = lateLoop()
  const admission = openAdmission(LIMITS, loop.now, loop.sleep, never)
  await loop.advance(100)
  expect(admission.lagMs()).toBe(0)
  expect(admission.enter()).toBe(true)
  loop.late(400)
  await loop.advance(2_000)
  expect(admission.lagMs()).toBeGreaterThan(LIMITS.lagMs)
  expect(admission.enter()).toBe(false)
  loop.late(0)
  await loop.advance(2_000)
  expect(admission.lagMs()).toBeLessThan(LIMITS.lagMs)
  expect(admission.enter()).toBe(true)
})

test('a stall, however long, is no overload: the questions that it kept waiting are served right after it', async () => {
  const loop = lateLoop()
  loop.late(5_000)
  const admission = openAdmission(LIMITS, loop.now, loop.sleep, never)
  loop.late(0)
  await loop.advance(20 + 5_000)
  expect(admission.lagMs()).toBeGreaterThan(LIMITS.lagMs)
  expect(admission.enter()).toBe(true)
  await loop.advance(2_000)
  expect(admission.lagMs()).toBeLessThan(LIMITS.lagMs)
  expect(admission.enter()).toBe(true)
})

test('a turn in time between late ones says that the loop keeps up', async () => {
  const loop = lateLoop()
  const admission = openAdmission(LIMITS, loop.now, loop.sleep, never)
  for (let turn = 0; turn < 20; turn++) {
    const lateMs = turn % 3 === 2 ? 0 : 900
    loop.late(lateMs)
    await loop.advance(20 + lateMs)
    expect(admission.enter()).toBe(true)
    admission.leave()
  }
})

test('measuring ends with its signal', async () => {
  const time = createFakeTime()
  const stop = new AbortController()
  openAdmission(LIMITS, time.now, time.sleep, stop.signal)
  await time.advance(100)
  stop.abort()
  await time.advance(100)
  expect(time.sleeping()).toBe(0)
})
