import { afterEach, beforeEach, expect, test } from 'vitest'
import type { KubeObject } from '../../../operator/kube/resource.ts'
import { GENERATIONS_NAME, objectOf, writtenTable } from '../../../operator/ledger/facts.ts'
import { type OpenLedger, openLedger } from '../../../operator/ledger/ledger.ts'
import type { GenerationTable } from '../../../operator/state/generations.ts'
import { createMemoryApi, createTestPorts, type MemoryApi, type TestPorts } from './memory-api.ts'

const never = new AbortController().signal
const table = (counter: number): GenerationTable => ({ counter, projections: new Map() })
const object = (counter: number) => objectOf(writtenTable(table(counter)), 'system', undefined) as KubeObject

let api: MemoryApi
let ports: TestPorts
let ledger: OpenLedger

beforeEach(async () => {
  api = createMemoryApi()
  ports = createTestPorts()
  ledger = await openLedger(api, 'system', ports)
  await ledger.whenSynced(never)
})
afterEach(async () => {
  await ledger[Symbol.asyncDispose]()
})

const known = () => ledger.facts('generations').get(GENERATIONS_NAME)?.table.counter
const write = (counter: number) => ledger.write(writtenTable(table(counter)), never)

test('an own write is seen at once, before the watch tells of it', async () => {
  expect(await write(1)).toBe(true)
  expect(known()).toBe(1)
})

test('news from before an own write do not undo it', async () => {
  api.put(object(1))
  await api.deliver()
  await write(2)
  await write(3)
  await api.deliver(1)
  expect(known()).toBe(3)
  await api.deliver()
  expect(known()).toBe(3)
})

test('what others write after an own write is seen, when the watch was faster than the answer', async () => {
  api.beforeAnswer = () => api.deliver()
  await write(1)
  api.put(object(7))
  await api.deliver()
  expect(known()).toBe(7)
  expect(await write(8)).toBe(true)
})

test('an answer that comes after news of a later write undoes nothing', async () => {
  api.beforeAnswer = async () => {
    api.put(object(7))
    await api.deliver()
  }
  await write(1)
  expect(known()).toBe(7)
})

test('what others write after an own write is seen, when the watch skips over the own write', async () => {
  await write(1)
  api.put(object(7))
  api.waiting.shift()
  await api.deliver()
  expect(known()).toBe(7)
})

test('what others remove after an own write is gone', async () => {
  api.beforeAnswer = () => api.deliver()
  await write(1)
  api.beforeAnswer = () => undefined
  api.take(GENERATIONS_NAME)
  await api.deliver()
  expect(known()).toBeUndefined()
})

test('a database that was restored to before an own write is believed after five seconds', async () => {
  api.put(object(1))
  await api.deliver()
  await write(9)
  api.waiting.length = 0
  // As a watch tells that began anew and finds nothing.
  const { metadata } = api.get(GENERATIONS_NAME) ?? object(0)
  api.waiting.push({ type: 'DELETED', object: { ...object(1), metadata } })
  await api.deliver()
  expect(known()).toBe(9)
  await ports.pass(5_000)
  expect(known()).toBeUndefined()
})

test.each([
  ['somebody else has written meanwhile', () => api.put(object(5))],
  ['somebody else has removed it meanwhile', () => api.take(GENERATIONS_NAME)],
])('a write is lost, not forced, when %s', async (_name, meanwhile) => {
  api.put(object(1))
  await api.deliver()
  meanwhile()
  expect(await write(2)).toBe(false)
  await api.deliver()
  expect(await write(6)).toBe(true)
  expect(known()).toBe(6)
})

test('what cannot be read is a problem with a name, and no empty fact', async () => {
  api.put({ ...object(1), data: { text: '{"version":2}' } })
  await api.deliver()
  expect(known()).toBeUndefined()
  expect([...ledger.problems().keys()]).toEqual([GENERATIONS_NAME])
})

test('listeners are told which kind of fact has changed, by whomever', async () => {
  const kinds: string[] = []
  const stop = ledger.subscribe((kind) => kinds.push(kind))
  await write(1)
  await api.deliver()
  api.put(object(2))
  await api.deliver()
  api.take(GENERATIONS_NAME)
  await api.deliver()
  stop()
  api.put(object(3))
  await api.deliver()
  expect(kinds).toEqual(['generations', 'generations', 'generations'])
})
