// Lines to real files and pipes: in order, together, and never at the cost of whoever writes them.
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Sleep } from '../../../sidecar/ports.ts'
import { openLineLog } from '../../../sidecar/record/log.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'
import { createFakeTime } from '../fake-time.ts'

const sleep: Sleep = (ms, signal) => delay(ms, undefined, { signal })
const never = new AbortController().signal
const LIMITS = { queueBytes: 100_000, gatherMs: 0 }
const FLUSH_MS = 5_000

let directory: string
let descriptors: number[]

beforeEach(() => {
  directory = tempDirectory('log')
  descriptors = []
})
afterEach(() => {
  for (const descriptor of descriptors) closeSync(descriptor)
  forget(directory)
})

function open(path: string, flags: number): number {
  const descriptor = openSync(path, flags, 0o600)
  descriptors.push(descriptor)
  return descriptor
}

const file = () => join(directory, 'log')
const openFile = () => open(file(), constants.O_CREAT | constants.O_WRONLY)

/** A pipe that somebody holds open and may not read. */
function openPipe() {
  const path = join(directory, 'pipe')
  execFileSync('mkfifo', [path])
  const reader = open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  // The log owns this end, and closes it.
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  const buffer = Buffer.alloc(1024 * 1024)
  const readSome = () => {
    try {
      return buffer.toString('utf8', 0, readSync(reader, buffer))
    } catch {
      return ''
    }
  }
  return { writer, readSome }
}

test('lines come out as they went in, one each, in order', async () => {
  const log = openLineLog(openFile(), LIMITS, sleep, never)
  const lines = Array.from({ length: 500 }, (_, index) => `line ${index} é`)
  for (const [index, line] of lines.entries()) {
    log.line(line)
    if (index % 50 === 0) await setImmediate()
  }
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  expect(readFileSync(file(), 'utf8')).toBe(`${lines.join('\n')}\n`)
  expect(log.dropped()).toBe(0)
})

test('lines gather before they are written together', async () => {
  const time = createFakeTime()
  const log = openLineLog(openFile(), { queueBytes: 1000, gatherMs: 20 }, time.sleep, never)
  log.line('a')
  await time.advance(19)
  log.line('b')
  expect(readFileSync(file(), 'utf8')).toBe('')
  await time.advance(1)
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  expect(readFileSync(file(), 'utf8')).toBe('a\nb\n')
})

test('a queue takes exactly its limit; the line beyond is dropped and counted', () => {
  const log = openLineLog(openFile(), { queueBytes: 30, gatherMs: 60_000 }, createFakeTime().sleep, never)
  const results = Array.from({ length: 4 }, () => {
    log.line('123456789')
    return log.dropped()
  })
  expect(results).toEqual([0, 0, 0, 1])
})

test('one line larger than the queue is dropped, and a small one after it is not', async () => {
  const log = openLineLog(openFile(), { queueBytes: 30, gatherMs: 0 }, sleep, never)
  log.line('x'.repeat(31))
  log.line('small')
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  expect(readFileSync(file(), 'utf8')).toBe('small\n')
  expect(log.dropped()).toBe(1)
})

test('a reader that reads nothing costs lines, counted, and no time; once it reads, order is kept', async () => {
  const { writer, readSome } = openPipe()
  const log = openLineLog(writer, { queueBytes: 50_000, gatherMs: 0 }, sleep, never)
  const text = (index: number) => `${index} ${'x'.repeat(990)}`
  let sent = 0
  for (; sent < 400; sent++) {
    log.line(text(sent))
    if (sent % 20 === 0) await setImmediate()
  }
  expect(log.dropped()).toBeGreaterThan(0)
  let received = ''
  const stop = AbortSignal.timeout(FLUSH_MS)
  const flushed = log.flush(stop).then(() => true)
  while (!(await Promise.race([flushed, delay(5, false)]))) received += readSome()
  received += readSome()
  const numbers = received
    .trimEnd()
    .split('\n')
    .map((line) => Number(line.split(' ', 1)[0]))
  expect(received.endsWith('\n')).toBe(true)
  expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
  expect(new Set(numbers).size).toBe(numbers.length)
  expect(numbers.length + log.dropped()).toBe(sent)
  for (const line of received.trimEnd().split('\n'))
    expect(line).toHaveLength(text(Number.parseInt(line, 10)).length)
  log.close()
})

test('flushing a blocked pipe ends with its signal', async () => {
  const { writer } = openPipe()
  const log = openLineLog(writer, { queueBytes: 1_000_000, gatherMs: 0 }, sleep, never)
  for (let i = 0; i < 200; i++) log.line('x'.repeat(1000))
  await log.flush(AbortSignal.timeout(30))
  expect(log.dropped()).toBe(0)
  log.close()
})

test('flushing an empty log waits for nothing', async () => {
  const log = openLineLog(openFile(), LIMITS, () => Promise.reject(new Error('waited')), never)
  await log.flush(never)
})

test('a descriptor that nobody reads any more harms nobody', async () => {
  const { writer } = openPipe()
  const [reader] = descriptors.splice(0, 1)
  closeSync(reader ?? -1)
  const log = openLineLog(writer, LIMITS, sleep, never)
  log.line('lost')
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  log.line('lost too')
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  log.close()
})

test('when the program drains, what is queued is written without gathering', async () => {
  const draining = new AbortController()
  const log = openLineLog(openFile(), { queueBytes: 1000, gatherMs: 60_000 }, sleep, draining.signal)
  log.line('last words')
  draining.abort()
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  log.line('and more')
  await log.flush(AbortSignal.timeout(FLUSH_MS))
  expect(readFileSync(file(), 'utf8')).toBe('last words\nand more\n')
})
