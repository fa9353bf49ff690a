import { expect, test } from 'vitest'
import { createGate, GATE_LIMITS, type Gate } from '../../../sidecar/grants/gate.ts'
import { createFakeTime } from '../fake-time.ts'

// In front of an endpoint: how many ask at once, who goes first, and when nobody asks.

const never = new AbortController().signal
const PATIENCE = 1_000

function open() {
  const time = createFakeTime()
  const changes: string[] = []
  const gate = createGate({ now: time.now, sleep: time.sleep, changed: (state) => changes.push(state) })
  const enter = (unproven = false, signal = never) => gate.enter(unproven, PATIENCE, signal)
  return { time, changes, gate, enter }
}

async function fail(gate: Gate, times: number): Promise<void> {
  for (let at = 0; at < times; at++) {
    await gate.enter(false, PATIENCE, never)
    gate.leave('failed')
  }
}

test('so many run at once, the next one waits for its turn', async () => {
  const { gate, enter } = open()
  for (let at = 0; at < GATE_LIMITS.running; at++) expect(await enter()).toBe(true)
  const next = enter()
  gate.leave('answered')
  expect(await next).toBe(true)
})

test('whoever waits too long, or gives up, waits no more and takes no place', async () => {
  const { time, gate, enter } = open()
  for (let at = 0; at < GATE_LIMITS.running; at++) await enter()
  const late = enter()
  const gone = new AbortController()
  const impatient = enter(false, gone.signal)
  gone.abort()
  expect(await impatient).toBe(false)
  await time.advance(PATIENCE)
  expect(await late).toBe(false)
  for (let at = 0; at < GATE_LIMITS.running; at++) gate.leave('answered')
  for (let at = 0; at < GATE_LIMITS.running; at++) expect(await enter()).toBe(true)
})

test('of unproven tokens fewer run, fewer wait, and all wait behind the proven', async () => {
  const { gate, enter } = open()
  const most = GATE_LIMITS.running - GATE_LIMITS.reserved
  for (let at = 0; at < most; at++) expect(await enter(true)).toBe(true)
  const order: string[] = []
  const junk = Array.from({ length: GATE_LIMITS.waiting }, () => enter(true))
  for (const one of junk) void one.then((admitted) => admitted && order.push('junk'))
  // Half of the places are not for them.
  const beyond = await Promise.all(junk.slice(GATE_LIMITS.waiting - GATE_LIMITS.reservedWaiting))
  expect(beyond).toEqual(Array(GATE_LIMITS.reservedWaiting).fill(false))
  for (let at = 0; at < GATE_LIMITS.reserved; at++) expect(await enter(false)).toBe(true)
  const good = enter(false).then(() => order.push('good'))
  gate.leave('answered')
  await good
  expect(order).toEqual(['good'])
})

test.each([
  [GATE_LIMITS.failures - 1, true],
  [GATE_LIMITS.failures, false],
])('after %i failures in a row the next may enter: %s', async (failures, may) => {
  const { gate, enter, changes } = open()
  await fail(gate, failures)
  expect(await enter()).toBe(may)
  expect(gate.open()).toBe(!may)
  expect(changes).toEqual(may ? [] : ['open'])
})

test('one answer between failures begins the count anew', async () => {
  const { gate, enter } = open()
  for (let at = 0; at < 10; at++) {
    await fail(gate, GATE_LIMITS.failures - 1)
    await enter()
    gate.leave('answered')
  }
  expect(gate.open()).toBe(false)
})

test('whoever gave up says nothing about the endpoint', async () => {
  const { gate, enter } = open()
  for (let at = 0; at < 20; at++) {
    await enter()
    gate.leave('given up')
  }
  expect(gate.open()).toBe(false)
})

test('after the pause one question alone is asked; its answer opens the way for all', async () => {
  const { time, gate, enter, changes } = open()
  await fail(gate, GATE_LIMITS.failures)
  await time.advance(GATE_LIMITS.firstPauseMs - 1)
  expect(await enter()).toBe(false)
  await time.advance(1)
  expect(await enter()).toBe(true)
  expect(await enter()).toBe(false)
  gate.leave('answered')
  expect(await enter()).toBe(true)
  expect(await enter()).toBe(true)
  expect(changes).toEqual(['open', 'closed'])
})

test('each failure of that one question doubles the pause, up to half a minute', async () => {
  const { time, gate, enter } = open()
  await fail(gate, GATE_LIMITS.failures)
  for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    await time.advance(pause - 1)
    expect(await enter()).toBe(false)
    await time.advance(1)
    expect(await enter()).toBe(true)
    gate.leave('failed')
  }
})

test('whoever waits when the way is closed is turned away at once', async () => {
  const { gate, enter } = open()
  for (let at = 0; at < GATE_LIMITS.running; at++) await enter()
  const waiting = [enter(), enter(), enter(true)]
  for (let at = 0; at < GATE_LIMITS.failures; at++) gate.leave('failed')
  const outcomes = await Promise.all(waiting)
  // Those who had their turn before the last failure are inside; nobody waits any more.
  expect(outcomes).toHaveLength(3)
  expect(await enter()).toBe(false)
})
