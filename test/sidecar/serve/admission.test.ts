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

test('stalls far apart are no overload, three in a row are', async () => {
  const loop = lateLoop()
  const admission = openAdmission(LIMITS, loop.now, loop.sleep, never)
  const turn = async (lateMs: number) => {
    loop.late(lateMs)
    await loop.advance(20 + lateMs)
  }
  await turn(0)
  for (let stalls = 0; stalls < 20; stalls++) {
    await turn(900)
    for (let inTime = 0; inTime < 2; inTime++) {
      expect(admission.enter()).toBe(true)
      admission.leave()
      await turn(0)
    }
  }
  for (let stalls = 0; stalls < 4; stalls++) await turn(900)
  expect(admission.enter()).toBe(false)
})

test('a turn that was in time because it shed does not end overload at once', async () => {
  const loop = lateLoop()
  const admission = openAdmission(LIMITS, loop.now, loop.sleep, never)
  let shed = 0
  for (let turn = 0; turn < 50; turn++) {
    const served = admission.enter()
    if (served) admission.leave()
    else shed++
    const lateMs = served ? 400 : 0
    loop.late(lateMs)
    await loop.advance(20 + lateMs)
  }
  // Three late batches before each that is shed would be a fourth.
  expect(shed).toBeGreaterThan(17)
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
