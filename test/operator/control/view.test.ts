import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type BundleHead, formatPart, partsOf } from '../../../operator/ledger/bundle-facts.ts'
import { writtenHead, writtenSegment, writtenTable } from '../../../operator/ledger/facts.ts'
import { createPublisher } from '../../../operator/publish/publisher.ts'
import { PUBLISHER_DEFAULTS } from '../../../operator/publish/settings.ts'
import type { Segment } from '../../../operator/state/revocation-segments.ts'
import { NOWHERE } from '../publish/stage.ts'
import { accessPolicy, pod, revocation, tokenIssuer } from '../state/objects.ts'
import { type Mirrors, openMirrors } from './mirrors.ts'

const never = new AbortController().signal
let mirrors: Mirrors

beforeEach(async () => {
  mirrors = await openMirrors()
})
afterEach(() => mirrors[Symbol.asyncDispose]())

const segment = (head: number, more: Partial<Segment> = {}): Segment => ({
  number: 1,
  first: 1,
  head,
  compactedTo: 0,
  gaps: [],
  records: [],
  ...more,
})
const table = (counter: number) => writtenTable({ counter, projections: new Map() })
const store = (written: ReturnType<typeof table>) => mirrors.ledger.write(written, never)

describe('what has not changed stays the same object', () => {
  test('a view of which nothing has changed', () => {
    expect(mirrors.views.current()).toBe(mirrors.views.current())
  })

  test.each([
    ['a pod without sidecar', () => mirrors.pod(pod('shop', 'plain', { sidecar: false }))],
    ['a pod told once more, the same', () => mirrors.pod(pod('shop', 'a'))],
  ])('%s changes no view', (_name, change) => {
    mirrors.pod(pod('shop', 'a'))
    const before = mirrors.views.current()
    let told = 0
    mirrors.views.subscribe(() => {
      told += 1
    })
    change()
    expect(mirrors.views.current()).toBe(before)
    expect(told).toBe(0)
  })

  test('a Revocation or a number changes no projection', async () => {
    mirrors.put('AccessPolicy', accessPolicy('shop', 'front'))
    const before = mirrors.views.current()
    mirrors.put('Revocation', revocation('shop', 'r'))
    await store(table(5))
    const after = mirrors.views.current()
    expect(after.cluster.revocations.size).toBe(1)
    expect(after.table.counter).toBe(5)
    expect(after.projections).toBe(before.projections)
  })

  test.each([
    ['AccessPolicy', () => mirrors.put('AccessPolicy', accessPolicy('shop', 'front'))],
    ['TokenIssuer', () => mirrors.put('TokenIssuer', tokenIssuer('shop', 'other'))],
    ['Pod', () => mirrors.pod(pod('shop', 'a', { labels: { app: 'other' } }))],
  ])('a changed %s is seen at once, and told', (_kind, change) => {
    mirrors.pod(pod('shop', 'a'))
    const before = mirrors.views.current()
    let seen: unknown
    mirrors.views.subscribe(() => {
      seen = mirrors.views.current().projections
    })
    change()
    expect(mirrors.views.current().projections).not.toBe(before.projections)
    expect(seen).toBe(mirrors.views.current().projections)
  })
})

test('whoever decides right after an own write decides on it', async () => {
  mirrors.views.current()
  await store(table(7))
  expect(mirrors.views.current().table.counter).toBe(7)
})

test('a projection whose files come last is offered when they are there', async () => {
  const content = Buffer.from('wasm')
  const sha256 = createHash('sha256').update(content).digest('hex')
  const head: BundleHead = {
    key: 'shop/rules',
    revision: 'sha256:r',
    sourceDigest: 'sha256:s',
    tests: 1,
    files: [{ path: 'policy.wasm', sha256, size: content.length }],
    signature: { keyId: 'k', value: Buffer.alloc(64) },
  }
  await mirrors.ledger.write(writtenHead(head), never)
  const before = mirrors.views.current().world
  expect(mirrors.views.current().cluster.bundles.size).toBe(0)
  for (const part of partsOf('shop/rules', new Map([['policy.wasm', content]])))
    await mirrors.ledger.write({ kind: 'bundle-part', ...formatPart(part) }, never)
  const { world, cluster } = mirrors.views.current()
  expect(cluster.bundles.has('shop/rules')).toBe(true)
  expect(world?.blob(sha256)).toEqual(content)
  expect(world?.blob).not.toBe(before?.blob)
})

describe('a database that is older than what was read of it', () => {
  const stored = async (head: number, counter: number, more: Partial<Segment> = {}) => {
    await store(writtenSegment(segment(head, more)))
    await store(table(counter))
  }
  beforeEach(async () => {
    await stored(40, 20)
    mirrors.views.current()
  })

  test.each([
    ['the log fell', () => stored(30, 20)],
    ['the numbers fell', () => stored(40, 10)],
    ['somebody went on from an older log', () => stored(90, 20, { gaps: [{ after: 30, before: 80 }] })],
  ])('is noticed, and nothing of it is published: %s', async (_name, restore) => {
    await restore()
    const { forgotten, world } = mirrors.views.current()
    expect(forgotten).toMatchObject({ log: { head: 40 }, table: { counter: 20 } })
    expect(world).toBeUndefined()
  })

  test.each([
    ['a new term leaves a gap', () => stored(90, 21, { gaps: [{ after: 40, before: 90 }] })],
    ['nothing moved', () => stored(40, 20)],
  ])('is not suspected: %s', async (_name, go) => {
    await go()
    expect(mirrors.views.current().forgotten).toBeUndefined()
  })

  test('is the present once what it forgot was taken back', async () => {
    await stored(30, 10)
    mirrors.views.current()
    await stored(95, 30, { gaps: [{ after: 30, before: 90 }] })
    expect(mirrors.views.current().forgotten).toBeDefined()
    mirrors.views.relearned()
    expect(mirrors.views.current()).toMatchObject({ forgotten: undefined, table: { counter: 30 } })
    expect(mirrors.views.current().world).toBeDefined()
  })

  test('what memory compares with is what a publisher refuses to go behind', async () => {
    const publisher = createPublisher(
      { trustDomain: 'cluster.example', ...PUBLISHER_DEFAULTS },
      {
        ...mirrors.ports,
        mayVouch: () => true,
        append: async () => NOWHERE,
        propagated: () => undefined,
        refreshKeys: async () => ({ fetched: false, sha256: '' }),
        recalled: async () => undefined,
        doubted: () => new Set(),
      },
    )
    const { world } = mirrors.views.current()
    expect(world && publisher.update(world)).toBe(true)
    await stored(30, 20)
    const fresh = mirrors.restart().current().world
    expect(fresh && publisher.update(fresh)).toBe(false)
  })
})

test('a log that cannot be read is told, and nothing is published', async () => {
  await store({
    ...table(1),
    name: 'portcullis-revocations-2',
    kind: 'revocations',
    text: writtenSegment(segment(1, { number: 2 })).text,
  })
  const { log, world } = mirrors.views.current()
  expect(log).toContain('none of their sets is whole')
  expect(world).toBeUndefined()
})
