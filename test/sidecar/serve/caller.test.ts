import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import { lineTo, trackCaller } from '../../../sidecar/serve/caller.ts'
import { createFakeTime } from '../fake-time.ts'

/** The far end of a call, as grpc-js tells of it. */
function openCall() {
  const call = Object.assign(new EventEmitter(), { cancelled: false })
  return {
    line: lineTo(call),
    hangUp: () => {
      call.cancelled = true
      call.emit('cancelled')
    },
    listeners: () => call.listenerCount('cancelled'),
  }
}

test.each([
  [99, undefined],
  [100, 'deadline'],
  [101, 'deadline'],
])('%i ms into a wait of 100 ms, the caller is gone because of: %s', async (after, want) => {
  const time = createFakeTime()
  const caller = trackCaller(100, openCall().line, time)
  await time.advance(after)
  expect(caller.gone()).toBe(want)
})

test('who hangs up is gone, whatever time is left, and that is what counts', async () => {
  const time = createFakeTime()
  const call = openCall()
  const caller = trackCaller(100, call.line, time)
  call.hangUp()
  expect(caller.gone()).toBe('cancelled')
  await time.advance(200)
  expect(caller.gone()).toBe('cancelled')
})

test('the signal aborts at the deadline, not before, and is one and the same', async () => {
  const time = createFakeTime()
  const caller = trackCaller(100, openCall().line, time)
  await time.advance(40)
  const signal = caller.signal()
  expect(caller.signal()).toBe(signal)
  await time.advance(59)
  expect(signal.aborted).toBe(false)
  await time.advance(1)
  expect(signal.aborted).toBe(true)
  expect(caller.gone()).toBe('deadline')
})

test('the signal aborts as soon as the caller hangs up', () => {
  const call = openCall()
  const caller = trackCaller(100, call.line, createFakeTime())
  const signal = caller.signal()
  call.hangUp()
  expect(signal.aborted).toBe(true)
})

test('a wait of nothing is over at once', async () => {
  const time = createFakeTime()
  const caller = trackCaller(0, openCall().line, time)
  expect(caller.gone()).toBe('deadline')
  const signal = caller.signal()
  await time.advance(0)
  expect(signal.aborted).toBe(true)
})

test('who waits for nothing costs no timer and no listener', () => {
  const time = createFakeTime()
  const call = openCall()
  const caller = trackCaller(100, call.line, time)
  caller.gone()
  caller.release()
  expect(time.sleeping()).toBe(0)
  expect(call.listeners()).toBe(0)
})

test('release takes back timer and listener', async () => {
  const time = createFakeTime()
  const call = openCall()
  const caller = trackCaller(100, call.line, time)
  caller.signal()
  expect(time.sleeping()).toBe(1)
  expect(call.listeners()).toBe(1)
  caller.release()
  expect(time.sleeping()).toBe(0)
  expect(call.listeners()).toBe(0)
})
