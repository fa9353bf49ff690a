// What machines revoke on its way into the log: stored or refused, never dropped; one write for many; nobody's share fills the log.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { AppendOutcome } from '../../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import { createAppending } from '../../../operator/control/appending.ts'
import { createRevoking } from '../../../operator/control/revoking.ts'
import type { LogStore } from '../../../operator/ledger/log-store.ts'
import { append, EMPTY_LOG } from '../../../operator/state/revocation-log.ts'
import { changesFor, overShare } from '../../../operator/state/revocation-made.ts'
import { revocation, tokenIssuer } from '../state/objects.ts'
import { type Mirrors, openMirrors } from './mirrors.ts'

let mirrors: Mirrors
let term: AbortController
beforeEach(async () => {
  mirrors = await openMirrors()
  term = new AbortController()
  mirrors.put('TokenIssuer', tokenIssuer('shop', 'idp'))
})
afterEach(() => mirrors[Symbol.asyncDispose]())

const LATER = 9_000_000_000_000
const session = (sid: string, change: Partial<Revocation> = {}): Revocation => ({
  id: '',
  source: 'shop/idp',
  issuer: 'https://idp.example',
  subject: { $case: 'sid', sid },
  issuedBeforeMs: 0,
  expiresAtMs: LATER,
  ...change,
})
const asking = (entries: readonly Revocation[], change: { podUid?: string; once?: string } = {}) => ({
  entries: [...entries],
  podUid: change.podUid ?? '',
  once: Buffer.from(change.once ?? ''),
  onceUntilMs: LATER,
})

/** A leader with its first term begun. */
async function lead(limit?: number) {
  const logs: LogStore = limit
    ? { ...mirrors.logs, limits: { entries: limit, bytes: 1_000_000 } }
    : mirrors.logs
  const revoking = createRevoking({
    ...mirrors,
    logs,
    random: () => 0,
    kindExists: async () => 'there',
    stands: async () => true,
  })
  await revoking.settle(mirrors.ports.now(), term.signal)
  const sleep = async () => undefined
  const appending = createAppending({ ...mirrors.ports, sleep, revoking, term: term.signal })
  const ask = async (...args: Parameters<typeof asking>) =>
    (await appending.append(asking(...args), term.signal)).outcome
  return { revoking, ask }
}
const sids = () => {
  const { log } = mirrors.views.current()
  if (typeof log === 'string') throw new Error(log)
  return [...log.live.values()].flatMap(({ entry: { subject } }) =>
    subject?.$case === 'sid' ? [subject.sid] : [],
  )
}
const { APPEND_OUTCOME_STORED: STORED, APPEND_OUTCOME_FULL: FULL } = AppendOutcome

test('004-24: answered when it is stored, and a look at the objects does not take it away', async () => {
  const { ask, revoking } = await lead()
  expect(await ask([session('s-1')])).toBe(STORED)
  expect(sids()).toEqual(['s-1'])
  mirrors.put('Revocation', revocation('shop', 'one', { entries: [{ type: 'Jti', value: 'one' }] }))
  await revoking.settle(mirrors.ports.now(), term.signal)
  expect(sids()).toEqual(['s-1'])
  const { log } = mirrors.views.current()
  expect(typeof log === 'object' && log.live.size).toBe(2)
})

test('it goes when it has expired', async () => {
  const { ask, revoking } = await lead()
  await ask([session('s-1', { expiresAtMs: mirrors.ports.now() + 10_000 })])
  await revoking.settle(mirrors.ports.now() + 70_001, term.signal)
  expect(sids()).toEqual([])
})

test('many that come together are one write', async () => {
  const { ask } = await lead()
  const { length } = mirrors.api.requests
  const outcomes = await Promise.all(Array.from({ length: 50 }, (_, index) => ask([session(`s-${index}`)])))
  expect(new Set(outcomes)).toEqual(new Set([STORED]))
  expect(sids()).toHaveLength(50)
  expect(mirrors.api.requests.length - length).toBeLessThanOrEqual(3)
})

test('what is denied already is no write', async () => {
  const { ask } = await lead()
  await ask([session('s-1')])
  const { length } = mirrors.api.requests
  expect(await ask([session('s-1')])).toBe(STORED)
  expect(await ask([session('s-1', { expiresAtMs: LATER - 1 })])).toBe(STORED)
  expect(mirrors.api.requests.length).toBe(length)
})

describe('at its limits the sender is told so, and nothing is dropped', () => {
  test('the log', async () => {
    const { ask } = await lead(4)
    for (const [index, namespace] of ['a', 'b', 'c', 'd'].entries())
      expect(await ask([session(`s-${index}`, { source: `${namespace}/idp` })])).toBe(STORED)
    expect(await ask([session('s-9', { source: 'e/idp' })])).toBe(FULL)
    expect(sids()).toHaveLength(4)
  })
  test('the share of a namespace: others still get in', async () => {
    const { ask } = await lead(8)
    expect(await ask([session('s-1'), session('s-2')])).toBe(STORED)
    const [mine, theirs] = await Promise.all([
      ask([session('s-3')]),
      ask([session('s-4', { source: 'idm/idp' })]),
    ])
    expect([mine, theirs]).toEqual([FULL, STORED])
    expect(sids().sort()).toEqual(['s-1', 's-2', 's-4'])
  })
  test('the share of a namespace: what the others bring meanwhile stays one write', async () => {
    const { ask } = await lead(200)
    for (const part of [0, 1, 2, 3])
      await ask(Array.from({ length: part < 3 ? 16 : 2 }, (_, index) => session(`s-${part}-${index}`)))
    const { length } = mirrors.api.requests
    const outcomes = await Promise.all([
      ask([session('s-over')]),
      ...Array.from({ length: 30 }, (_, index) => ask([session(`t-${index}`, { source: 'idm/idp' })])),
    ])
    expect(outcomes).toEqual([FULL, ...Array.from({ length: 30 }, () => STORED)])
    expect(mirrors.api.requests.length - length).toBeLessThanOrEqual(3)
  })
  test('one pod in an hour', async () => {
    const { ask } = await lead()
    const sixteen = (round: number) => Array.from({ length: 16 }, (_, index) => session(`${round}-${index}`))
    for (let round = 0; round < 62; round++) expect(await ask(sixteen(round), { podUid: 'p' })).toBe(STORED)
    expect(await ask(sixteen(62), { podUid: 'p' })).toBe(FULL)
    expect(await ask(sixteen(62), { podUid: 'q' })).toBe(STORED)
  })
})

describe('L6: what must not come twice', () => {
  test('is told apart from the first', async () => {
    const { ask } = await lead()
    expect(await ask([session('s-1')], { once: 'jti' })).toBe(STORED)
    expect(await ask([session('s-1')], { once: 'jti' })).toBe(AppendOutcome.APPEND_OUTCOME_REPEATED)
    expect(await ask([session('s-1')], { once: 'other' })).toBe(STORED)
  })
  test('is not burnt by a log that was full', async () => {
    const { ask } = await lead(4)
    await ask([session('s-1')])
    expect(await ask([session('s-2')], { once: 'jti' })).toBe(FULL)
    expect(await ask([session('s-1')], { once: 'jti' })).toBe(STORED)
  })
})

test('after the end of a term nothing is stored', async () => {
  const { ask } = await lead()
  term.abort()
  expect(await ask([session('s-1')])).toBe(AppendOutcome.APPEND_OUTCOME_UNAVAILABLE)
  expect(sids()).toEqual([])
})

test('before the first look of a term nothing is appended: positions would be given out twice', async () => {
  const revoking = createRevoking({
    ...mirrors,
    random: () => 0,
    kindExists: async () => 'there',
    stands: async () => true,
  })
  expect(await revoking.append([session('s-1')], mirrors.ports.now(), term.signal)).toBe('again')
})

test('one value has one entry, which denies what all that came about it do', () => {
  const alice = (issuedBeforeMs: number, expiresAtMs: number) =>
    session('', { subject: { $case: 'sub', sub: 'alice' }, issuedBeforeMs, expiresAtMs })
  const [change, ...others] = changesFor(EMPTY_LOG, [alice(1_000, 9_000), alice(5_000, 7_000)])
  expect(others).toEqual([])
  expect(change).toMatchObject({ entry: { issuedBeforeMs: 5_000, expiresAtMs: 9_000 } })
  expect(overShare(EMPTY_LOG, changesFor(EMPTY_LOG, [alice(1, 2)]), { entries: 3, bytes: 9 })).toMatch(
    /namespace shop/,
  )
})

test('the share of a namespace is one of bytes, too: long values do not keep out what others bring', () => {
  const long = (namespace: string, count: number) =>
    changesFor(
      EMPTY_LOG,
      Array.from({ length: count }, (_, index) =>
        session(`${index}`.padEnd(512, 'x'), { source: `${namespace}/idp` }),
      ),
    )
  const limits = { entries: 100, bytes: 16 * 1024 }
  expect(overShare(EMPTY_LOG, long('shop', 6), limits)).toBeUndefined()
  expect(overShare(EMPTY_LOG, long('shop', 7), limits)).toMatch(/namespace shop has 4096 bytes/)
  const full = append(EMPTY_LOG, long('shop', 6), limits)
  if (!full.ok) throw new Error(full.why)
  expect(overShare(full.log, long('idm', 6), limits)).toBeUndefined()
})
