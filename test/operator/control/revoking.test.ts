import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { made } from '../../../contracts/fingerprint.ts'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createNumbering } from '../../../operator/control/numbering.ts'
import { createRelearning } from '../../../operator/control/relearning.ts'
import { createRevoking, type KindState } from '../../../operator/control/revoking.ts'
import { createVouching } from '../../../operator/control/vouching.ts'
import { writtenSegment, writtenTable } from '../../../operator/ledger/facts.ts'
import type { Unkept } from '../../../operator/publish/settings.ts'
import { LOG_LIMITS, type RevocationLog } from '../../../operator/state/revocation-log.ts'
import { accessPolicy, pod, revocation, tokenIssuer } from '../state/objects.ts'
import { type Mirrors, openMirrors } from './mirrors.ts'

const never = new AbortController().signal
const AWAY: Unkept = { why: 'the API server is away', full: false }
let mirrors: Mirrors
let kind: KindState
let stands: boolean

beforeEach(async () => {
  mirrors = await openMirrors()
  kind = 'there'
  stands = true
  mirrors.put('TokenIssuer', tokenIssuer('shop', 'idp'))
})
afterEach(() => mirrors[Symbol.asyncDispose]())

const revoking = () =>
  createRevoking({ ...mirrors, random: () => 0, kindExists: async () => kind, stands: async () => stands })
const log = (): RevocationLog => {
  const { log: found } = mirrors.views.current()
  if (typeof found === 'string') throw new Error(found)
  return found
}
const denied = () => [...log().live.values()].map(({ entry: { subject }, recalled }) => [subject, recalled])
const now = () => mirrors.ports.now()
const jti = (value: string) => ({ entries: [{ type: 'Jti', value }] })
const one = revocation('shop', 'one', jti('one'))
const two = revocation('shop', 'two', jti('two'))
const saying = (value: string, recalled = false) => [{ $case: 'jti', jti: value }, recalled]

describe('the revocation log follows the objects', () => {
  test('a term begins above whatever was given out before', async () => {
    mirrors.put('Revocation', one)
    await revoking().settle(now(), never)
    const first = log().head
    await revoking().settle(now(), never)
    expect(log().head).toBeGreaterThan(first + 1)
    expect(log().gaps.at(-1)?.after).toBe(first)
  })

  test('nothing to say is nothing to write', async () => {
    const mine = revoking()
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    const { length } = mirrors.api.requests
    await mine.settle(now(), never)
    expect(mirrors.api.requests.length).toBe(length)
  })

  test('an object that was deleted no longer denies', async () => {
    const mine = revoking()
    mirrors.put('Revocation', one)
    mirrors.put('Revocation', two)
    await mine.settle(now(), never)
    mirrors.take('Revocation', one)
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('two')])
  })

  test('objects that vanish with their kind still deny, also after the kind is back', async () => {
    const mine = revoking()
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    kind = 'gone'
    mirrors.take('Revocation', one)
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('one', true)])
    kind = 'there'
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('one', true)])
    await mine.settle(Date.UTC(2031, 0), never)
    expect(denied()).toEqual([])
  })

  test('while nobody can tell whether the kind is there nothing is lifted, and what is new denies', async () => {
    const mine = revoking()
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    kind = 'unknown'
    mirrors.take('Revocation', one)
    mirrors.put('Revocation', two)
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('one'), saying('two')])
    kind = 'there'
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('two')])
  })

  test('what others write while a question is asked is not overwritten', async () => {
    const mine = createRevoking({
      ...mirrors,
      random: () => 0,
      kindExists: async () => {
        const other = createRevoking({
          ...mirrors,
          random: () => 0,
          kindExists: async () => 'there',
          stands: async () => true,
        })
        const entry = { ...[...log().live.values()].map(({ entry: known }) => known)[0], id: 'x/1' } as never
        expect(await other.recall([entry], log().head + 500, never)).toBe(true)
        return 'there'
      },
      stands: async () => true,
    })
    mirrors.put('Revocation', one)
    mirrors.put('Revocation', two)
    await mine.settle(now(), never)
    mirrors.take('Revocation', two)
    const head = log().head
    await mine.settle(now(), never)
    expect(denied()).toContainEqual(saying('one', true))
    expect(log().head).toBeGreaterThan(head + 500)
  })

  test('a plan of several writes stops when somebody else has written in between', async () => {
    const mine = revoking()
    await mine.settle(now(), never)
    mirrors.put('Revocation', one)
    mirrors.api.beforeAnswer = async ({ method }) => {
      mirrors.api.beforeAnswer = () => undefined
      if (method !== 'PUT') return
      const name = 'portcullis-revocations-1'
      const stored = mirrors.api.get(name)
      if (stored)
        mirrors.api.put({ ...stored, data: { text: writtenSegment(segmentAt(9_000)).text } } as never)
      await mirrors.api.deliver()
    }
    await mine.settle(now(), never)
    await mine.settle(now(), never)
    expect(log().head).toBe(9_001)
    expect(denied()).toEqual([saying('one')])
  })

  test('what was recalled is taken over by an object only if it is really there', async () => {
    const mine = revoking()
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    kind = 'gone'
    mirrors.take('Revocation', one)
    await mine.settle(now(), never)
    kind = 'there'
    stands = false
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    mirrors.take('Revocation', one)
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('one', true)])
    stands = true
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    expect(denied()).toEqual([saying('one')])
  })

  describe('one namespace fills the room of Revocation objects', () => {
    const many = (name: string) =>
      revocation('shop', name, {
        entries: Array.from({ length: 256 }, (_, index) => ({ type: 'Jti', value: `${name}-${index}` })),
      })
    const flood = Array.from({ length: LOG_LIMITS.entries / 256 + 1 }, (_, index) => many(`many-${index}`))
    const fits = Math.floor(LOG_LIMITS.entries / 2 / 256)
    const inForce = (uid: string) => [...log().live.keys()].filter((id) => id.startsWith(`${uid}/`)).length

    const flooded = async (...before: readonly (typeof one)[]) => {
      const mine = revoking()
      for (const objects of [before, flood]) {
        for (const object of objects) mirrors.put('Revocation', object)
        await mine.settle(now(), never)
      }
      return mine
    }

    test('what no longer fits says so, object by object, and denies nothing; what was denied stays', async () => {
      const mine = await flooded(one)
      expect(denied()).toContainEqual(saying('one'))
      expect(mine.problems().has('shop/one')).toBe(false)
      const whole = flood.filter(({ metadata }) => inForce(metadata.uid) === 256)
      const none = flood.filter(({ metadata }) => inForce(metadata.uid) === 0)
      expect(whole).toHaveLength(fits)
      expect(none).toHaveLength(flood.length - fits)
      expect([...mine.problems().keys()].sort()).toEqual(
        none.map(({ metadata }) => `shop/${metadata.name}`).sort(),
      )
      expect(new Set(mine.problems().values())).toEqual(
        new Set([
          expect.stringMatching(/^log is full: namespace shop would have more entries in force than it/),
        ]),
      )
    })

    test('those of other namespaces still get in, and so do changes that add nothing', async () => {
      const mine = await flooded()
      mirrors.put('TokenIssuer', tokenIssuer('bank', 'idp'))
      const urgent = revocation('bank', 'urgent', jti('urgent'))
      mirrors.put('Revocation', urgent)
      const held = flood.find(({ metadata }) => inForce(metadata.uid) > 0) ?? one
      const longer = { ...held, spec: { ...held.spec, expiresAt: '2031-01-01T00:00:00Z' } }
      mirrors.put('Revocation', longer)
      await mine.settle(now(), never)
      expect(denied()).toContainEqual(saying('urgent'))
      expect(mine.problems().has('bank/urgent')).toBe(false)
      expect(mine.problems().has(`shop/${held.metadata.name}`)).toBe(false)
      expect(
        [...log().live.values()].filter(({ entry }) => entry.expiresAtMs === Date.UTC(2031, 0)),
      ).toHaveLength(256)
    })

    test('an object whose edit does not fit denies what it denied before', async () => {
      const mine = await flooded(one)
      const others = flood[0]?.spec.entries ?? []
      const edited = { ...one, spec: { ...one.spec, entries: [...others] } }
      mirrors.put('Revocation', edited)
      await mine.settle(now(), never)
      expect(mine.problems().get('shop/one')).toContain('log is full')
      expect(denied()).toContainEqual(saying('one'))
      const longer = {
        ...one,
        spec: { ...one.spec, entries: [...one.spec.entries, ...others], expiresAt: '2031-01-01T00:00:00Z' },
      }
      mirrors.put('Revocation', longer)
      await mine.settle(now(), never)
      expect(mine.problems().get('shop/one')).toContain('log is full')
      const own = [...log().live.values()].filter(({ id }) => id.startsWith(one.metadata.uid))
      expect(own.map(({ entry }) => entry.expiresAtMs)).toEqual([Date.UTC(2031, 0)])
      const another = { ...one, spec: { ...one.spec, ...jti('another') } }
      mirrors.put('Revocation', another)
      await mine.settle(now(), never)
      expect(mine.problems().has('shop/one')).toBe(false)
      expect(denied()).toContainEqual(saying('another'))
      expect(denied()).not.toContainEqual(saying('one'))
    })

    test('room that is given up is taken by what waited', async () => {
      const mine = await flooded()
      const [first] = flood
      if (first) mirrors.take('Revocation', first)
      await mine.settle(now(), never)
      expect(first && inForce(first.metadata.uid)).toBe(0)
      expect(flood.filter(({ metadata }) => inForce(metadata.uid) === 256)).toHaveLength(fits)
    })
  })
})

describe('what one sidecar recalls', () => {
  const of = (source: string, id: string, subject: Revocation['subject']): Revocation => ({
    ...{ id, source, issuer: 'https://idp.example', subject },
    issuedBeforeMs: 0,
    expiresAtMs: Date.UTC(2030, 0),
  })
  const admitsRevocation = async (mine: ReturnType<typeof revoking>) => {
    mirrors.put('Revocation', one)
    await mine.settle(now(), never)
    expect(mine.problems().get('shop/one')).toBeUndefined()
    expect(denied()).toContainEqual(saying('one'))
  }
  const many = (count: number, one: (index: number) => Revocation | undefined) =>
    Array.from({ length: count }, (_, index) => one(index)).flatMap((entry) => entry ?? [])
  const junk = (count: number) =>
    many(count, (index) => of('shop/idp', `junk/${index}`, { $case: 'jti', jti: `${index}` }))
  const madeIn = (namespace: string, count: number, from = 0) =>
    many(count, (index) => made(of(`${namespace}/idp`, '', { $case: 'sid', sid: `${from + index}` })))

  test('fills its room, and keeps no Revocation and no logout out', async () => {
    const mine = revoking()
    await mine.settle(now(), never)
    expect(await mine.recall(junk(LOG_LIMITS.entries), 9_000, never)).toBe(true)
    expect(await mine.recall(junk(LOG_LIMITS.entries + 1), 9_000, never)).toEqual({
      why: expect.stringContaining('log is full'),
      full: true,
    })
    await admitsRevocation(mine)
    expect(await mine.append(madeIn('shop', 1), now(), never)).toBe('stored')
  })
  test('does not keep out what this replica remembers itself, however full its room is', async () => {
    const mine = revoking()
    await mine.settle(now(), never)
    expect(await mine.recall(junk(LOG_LIMITS.entries), 9_000, never)).toBe(true)
    const lost = of('shop/idp', 'lost', { $case: 'jti', jti: 'one' })
    expect(await mine.recall([lost], 99_000, never)).toMatchObject({ full: true })
    expect(await mine.recall([lost], 99_000, never, true)).toBe(true)
    expect(denied()).toContainEqual(saying('one', true))
  })
  test('of what machines made, at most twice the share of a namespace', async () => {
    const mine = revoking()
    await mine.settle(now(), never)
    const half = LOG_LIMITS.entries / 2
    expect(await mine.recall(madeIn('shop', half), 9_000, never)).toBe(true)
    expect(await mine.recall(madeIn('shop', half), 9_000, never)).toBe(true)
    expect(await mine.recall(madeIn('shop', 1, half), 9_000, never)).toEqual({
      why: expect.stringContaining('namespace shop has'),
      full: true,
    })
    expect(await mine.append(madeIn('shop', 1, half), now(), never)).toEqual({
      full: expect.stringContaining('namespace shop has'),
    })
    expect(await mine.append(madeIn('idm', 1), now(), never)).toBe('stored')
    await admitsRevocation(mine)
  })
  test('of what machines made of many namespaces, as much as their room holds, and keeps no Revocation out', async () => {
    const mine = revoking()
    await mine.settle(now(), never)
    const half = LOG_LIMITS.entries / 2
    for (const namespace of ['shop', 'idm'])
      expect(await mine.recall(madeIn(namespace, half), 9_000, never)).toBe(true)
    expect(await mine.recall(madeIn('hr', 1), 9_000, never)).toEqual({
      why: expect.stringContaining('log is full'),
      full: true,
    })
    await admitsRevocation(mine)
  })
})

const segmentAt = (head: number) => ({
  number: 1,
  first: 1,
  head,
  compactedTo: 0,
  gaps: [],
  records: [],
})

describe('while something is forgotten', () => {
  const restore = async (head: number, counter: number) => {
    await mirrors.ledger.write(writtenSegment(segmentAt(head)), never)
    await mirrors.ledger.write(writtenTable({ counter, projections: new Map() }), never)
  }

  test('a leader gives out no position and no number', async () => {
    mirrors.put('AccessPolicy', accessPolicy('shop', 'front'))
    await restore(500, 300)
    mirrors.views.current()
    await restore(100, 50)
    mirrors.put('Revocation', one)
    const { length } = mirrors.api.requests
    expect(await revoking().settle(now(), never)).toBe(true)
    expect(await createNumbering(mirrors.ledger, mirrors.views, () => 0).settle([], never)).toBe(true)
    expect(mirrors.api.requests.length).toBe(length)
  })

  test('nobody is vouched for until this replica has stored what it remembers', async () => {
    const merged: object[] = []
    let problem: Unkept | undefined = AWAY
    const relearning = createRelearning({
      views: mirrors.views,
      merge: async (what) => {
        merged.push(what)
        return problem
      },
      pod: { name: 'c-1', uid: 'u-1', ip: '', node: '' },
      namespace: 'system',
      report: mirrors.ports.report,
    })
    await restore(500, 300)
    mirrors.views.current()
    expect(relearning.owing()).toBe(false)
    await restore(100, 50)
    expect(relearning.owing()).toBe(true)
    relearning.look(now())
    relearning.look(now())
    await Promise.resolve()
    expect(merged).toMatchObject([
      { revocationHead: 500, generation: 300, entries: [], pod: { name: 'c-1' } },
    ])
    await new Promise((done) => setImmediate(done))
    expect(relearning.owing()).toBe(true)
    problem = undefined
    await restore(9_000, 900)
    // The head that this replica saw lies beyond what the restored log knows only until it is told that all was taken back.
    relearning.look(now())
    await new Promise((done) => setImmediate(done))
    expect(relearning.owing()).toBe(false)
  })

  test('what a sidecar told and could not be stored is owed until it is, or the pod is gone', async () => {
    let problem: Unkept | undefined = AWAY
    const relearning = createRelearning({
      views: mirrors.views,
      merge: async () => problem,
      pod: { name: 'c-1', uid: 'u-1', ip: '', node: '' },
      namespace: 'system',
      report: mirrors.ports.report,
    })
    const [a, b] = [pod('shop', 'a'), pod('shop', 'b')]
    mirrors.pod(a)
    mirrors.pod(b)
    const told = ({ uid, namespace, name }: typeof a) =>
      relearning.recalled({
        ...{ pod: { uid, namespace, name }, generation: 1, revocationHead: 1 },
        ...{ entries: [], sources: [], begins: true, own: false },
      })
    expect(await told(a)).toEqual(AWAY)
    await told(b)
    problem = undefined
    expect(await told(a)).toBeUndefined()
    expect([...relearning.doubted()]).toEqual([b.uid])
    mirrors.pod({ ...b, sidecar: false })
    expect([...relearning.doubted()]).toEqual([])
  })
})

describe('what a sidecar told and could not be stored', () => {
  let problem: Unkept | undefined
  const open = () =>
    createRelearning({
      ...{ views: mirrors.views, merge: async () => problem, report: mirrors.ports.report },
      ...{ pod: { name: 'c-1', uid: 'u-1', ip: '', node: '' }, namespace: 'system' },
    })
  const a = pod('shop', 'a')
  const telling = (sources: readonly string[], begins = true) => ({
    ...{ pod: { uid: a.uid, namespace: 'shop', name: 'a' }, generation: 1, revocationHead: 1 },
    ...{ entries: [], sources, begins, own: false },
  })
  beforeEach(() => mirrors.pod(a))

  test('concerns itself and those who believe its issuers, and nobody else', async () => {
    const relearning = open()
    expect([...relearning.doubted()]).toEqual([])
    problem = AWAY
    await relearning.recalled(telling(['shop/idp', 'idm/hub']))
    expect(relearning.owing()).toBe(false)
    expect([...relearning.doubted()]).toEqual([a.uid, 'shop/idp', 'idm/hub'])
    mirrors.pod({ ...a, sidecar: false })
    expect([...relearning.doubted()]).toEqual([])
  })
  test('is owed until all of it is told again and stored', async () => {
    const relearning = open()
    problem = AWAY
    await relearning.recalled(telling(['shop/idp']))
    problem = undefined
    await relearning.recalled(telling(['shop/idp'], false))
    expect([...relearning.doubted()]).toEqual([a.uid, 'shop/idp'])
    await relearning.recalled(telling(['shop/idp']))
    expect([...relearning.doubted()]).toEqual([])
  })
})

describe('vouching', () => {
  test('a Revocation that does not get into the log ends it after three seconds, and its expiry or its entry begins it anew', async () => {
    const vouching = createVouching(mirrors.views, mirrors.logs.limits, mirrors.ports.monotonic)
    expect(vouching.may(now())).toBe(true)
    mirrors.put('Revocation', one)
    expect(vouching.may(now())).toBe(true)
    await mirrors.ports.pass(2_900)
    expect(vouching.may(now())).toBe(true)
    await mirrors.ports.pass(200)
    expect(vouching.may(now())).toBe(false)
    expect(vouching.may(Date.UTC(2031, 0))).toBe(false)
    await mirrors.ports.pass(1_100)
    expect(vouching.may(Date.UTC(2031, 0))).toBe(true)
    await mirrors.ports.pass(5_000)
    await revoking().settle(now(), never)
    expect(vouching.may(now())).toBe(true)
  })

  test('one that the log has no room for is its own fault; how much room there is its store says', async () => {
    const small = createVouching(mirrors.views, { entries: 0, bytes: 0 }, mirrors.ports.monotonic)
    const large = createVouching(mirrors.views, LOG_LIMITS, mirrors.ports.monotonic)
    mirrors.put('Revocation', one)
    expect([small.may(now()), large.may(now())]).toEqual([true, true])
    await mirrors.ports.pass(3_100)
    expect([small.may(now()), large.may(now())]).toEqual([true, false])
  })

  test('nobody vouches for a log that cannot be read', async () => {
    const text = writtenSegment({ ...segmentAt(5), number: 2 }).text
    await mirrors.ledger.write({ name: 'portcullis-revocations-2', kind: 'revocations', text }, never)
    expect(createVouching(mirrors.views, mirrors.logs.limits, mirrors.ports.monotonic).may(now())).toBe(false)
  })
})

describe('numbers', () => {
  test('a new leader numbers what has none, above its predecessor, and keeps the numbers that are', async () => {
    mirrors.put('AccessPolicy', accessPolicy('shop', 'front'))
    await createNumbering(mirrors.ledger, mirrors.views, () => 0).settle([], never)
    const { table } = mirrors.views.current()
    const later = createNumbering(mirrors.ledger, mirrors.views, () => 0.5)
    await later.settle([], never)
    const after = mirrors.views.current().table
    expect(after.counter).toBeGreaterThan(table.counter)
    expect(after.projections).toEqual(table.projections)
    const { length } = mirrors.api.requests
    await later.settle([], never)
    expect(mirrors.api.requests.length).toBe(length)
  })

  test('what another replica wrote in the meantime is not undone', async () => {
    mirrors.put('AccessPolicy', accessPolicy('shop', 'front'))
    const numbering = createNumbering(mirrors.ledger, mirrors.views, () => 0)
    mirrors.api.put({ metadata: { name: 'portcullis-generations' } } as never)
    expect(await numbering.settle([], never)).toBe(false)
  })
})
