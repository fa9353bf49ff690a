// Deny facts: whom each kind meets, for how long, and what is never forgotten while the log is followed.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Principal } from '../../../sidecar/principal.ts'
import { REVOCATION_LIMITS } from '../../../sidecar/trust/revocation-wire.ts'
import { createRevocations, NO_REVOCATIONS } from '../../../sidecar/trust/revocations.ts'
import { AT, caller, entry, LATER, message, type Subject, token } from './revocation-world.ts'

const S = AT / 1000

function holding(...entries: readonly Revocation[]) {
  const revocations = createRevocations()
  expect(revocations.apply(message(0, 1, entries))).toEqual([])
  return revocations
}

describe('whom an entry meets', () => {
  test.each<readonly [subject: Subject, who: Partial<Principal>, sid: unknown, reason: string | undefined]>([
    [{ $case: 'jti', jti: 'j-1' }, {}, undefined, 'revoked_jti'],
    [{ $case: 'jti', jti: 'j-2' }, {}, undefined, undefined],
    [{ $case: 'jti', jti: 'alice' }, {}, undefined, undefined],
    [{ $case: 'sid', sid: 's-1' }, {}, 's-1', 'revoked_sid'],
    [{ $case: 'sid', sid: 's-1' }, {}, undefined, undefined],
    [{ $case: 'sid', sid: 's-1' }, {}, ['s-1'], undefined],
    [{ $case: 'sub', sub: 'alice' }, {}, undefined, 'revoked_sub'],
    [{ $case: 'sub', sub: 'Alice' }, {}, undefined, undefined],
    [{ $case: 'sub', sub: '__proto__' }, {}, undefined, undefined],
    [{ $case: 'sub', sub: '__proto__' }, { subject: '__proto__' }, undefined, 'revoked_sub'],
    [{ $case: 'clientId', clientId: 'web' }, {}, undefined, 'revoked_client'],
    [{ $case: 'clientId', clientId: 'we' }, {}, undefined, undefined],
    [{ $case: 'kid', kid: 'k-1' }, {}, undefined, 'kid_revoked'],
    [{ $case: 'kid', kid: 'k-2' }, {}, undefined, undefined],
    [{ $case: 'tenant', tenant: 'acme' }, {}, undefined, 'revoked_tenant'],
    [{ $case: 'tenant', tenant: 'globex' }, {}, undefined, undefined],
  ])('%j, %j, sid %j: %s', (subject, who, sid, reason) => {
    expect(holding(entry('r', subject)).against(caller(who), token(sid), AT)).toBe(reason)
  })

  test('nobody of another issuer, whatever the name', () => {
    const revocations = holding(entry('r', { $case: 'sub', sub: 'alice' }))
    expect(revocations.against(caller({ issuer: 'https://idp.test.example/' }), token(), AT)).toBeUndefined()
  })

  test.each([
    ['shop/idp', 'revoked_sub'],
    ['other/idp', undefined],
    ['shop/id', undefined],
    ['', undefined],
  ])('nobody whose issuer is believed for another source: %j', (source, reason) => {
    const revocations = holding(entry('r', { $case: 'sub', sub: 'alice' }))
    expect(revocations.against(caller(), token(undefined, source), AT)).toBe(reason)
  })

  test('an entry that moves to another source leaves the first', () => {
    const revocations = holding(entry('r', { $case: 'sub', sub: 'alice' }))
    const moved = entry('r', { $case: 'sub', sub: 'alice' }, { source: 'other/idp' })
    expect(revocations.apply(message(1, 2, [moved]))).toEqual([])
    expect(revocations.against(caller(), token(), AT)).toBeUndefined()
    expect(revocations.against(caller(), token(undefined, 'other/idp'), AT)).toBe('revoked_sub')
    expect(revocations.apply(message(2, 3, [], ['r']))).toEqual([])
    expect(revocations.against(caller(), token(undefined, 'other/idp'), AT)).toBeUndefined()
  })

  test.each([
    [S - 1, 'revoked_issued_before'],
    [S, 'revoked_issued_before'],
    [S + 1, undefined],
  ])('everything issued until a moment: iat %i', (issuedAt, reason) => {
    const all = { issuedBeforeMs: S * 1000 + 999 }
    const revocations = holding(entry('r', { $case: 'everything', everything: true }, all))
    expect(revocations.against(caller({ issuedAt }), token(), AT)).toBe(reason)
  })

  test.each([
    [S, 'revoked_sub'],
    [S + 1, undefined],
  ])('004-15: a subject until a moment, so that a new login works: iat %i', (issuedAt, reason) => {
    const revocations = holding(entry('r', { $case: 'sub', sub: 'alice' }, { issuedBeforeMs: S * 1000 }))
    expect(revocations.against(caller({ issuedAt }), token(), AT)).toBe(reason)
  })

  test.each([
    [-1, 'revoked_sub'],
    [0, undefined],
    [1, undefined],
  ])('an entry that expires: %i ms after', (ms, reason) => {
    const revocations = holding(entry('r', { $case: 'sub', sub: 'alice' }))
    expect(revocations.against(caller(), token(), LATER + ms)).toBe(reason)
  })

  test('an entry that expires hides no other for the same subject', () => {
    const brief = { expiresAtMs: AT + 1 }
    const revocations = holding(
      entry('a', { $case: 'sub', sub: 'alice' }, brief),
      entry('b', { $case: 'sub', sub: 'alice' }),
    )
    expect(revocations.against(caller(), token(), AT + 1)).toBe('revoked_sub')
  })

  test('nobody, when nobody pushes', () => {
    expect(NO_REVOCATIONS.against(caller(), token('s'), AT)).toBeUndefined()
    expect(NO_REVOCATIONS.size).toBe(0)
  })
})

describe('a message is taken whole or not at all', () => {
  const good = entry('good', { $case: 'sub', sub: 'alice' })
  const long = 'x'.repeat(513)
  test.each<
    readonly [what: string, entries: readonly Revocation[], removed: readonly string[], problem: RegExp]
  >([
    [
      'an entry without a subject',
      [good, { ...good, id: 'b', subject: undefined }],
      [],
      /entries\[1\]\.subject/,
    ],
    ['an entry without an id', [good, { ...good, id: '' }], [], /entries\[1\]\.id/],
    ['an id of 129', [good, { ...good, id: 'x'.repeat(129) }], [], /entries\[1\]\.id/],
    ['an entry without an issuer', [good, { ...good, id: 'b', issuer: '' }], [], /entries\[1\]\.issuer/],
    ['a source of 321', [good, { ...good, id: 'b', source: 's'.repeat(321) }], [], /entries\[1\]\.source/],
    ['an entry for ever', [good, { ...good, id: 'b', expiresAtMs: 0 }], [], /entries\[1\]\.expires_at_ms/],
    ['an empty subject', [good, entry('b', { $case: 'jti', jti: '' })], [], /entries\[1\]\.jti/],
    ['a subject of 513', [good, entry('b', { $case: 'sub', sub: long })], [], /entries\[1\]\.sub/],
    ['everything for ever', [good, entry('b', { $case: 'everything', everything: true })], [], /everything/],
    [
      'everything, but not so',
      [good, entry('b', { $case: 'everything', everything: false }, { issuedBeforeMs: 1 })],
      [],
      /everything/,
    ],
    ['too many', Array.from({ length: 4097 }, (_, i) => ({ ...good, id: `${i}` })), [], /at most 4096/],
    ['an empty id to remove', [good], [''], /removed/],
  ])('%s', (_what, entries, removed, problem) => {
    const revocations = holding(entry('old', { $case: 'sub', sub: 'bob' }))
    const { epoch } = revocations
    expect(revocations.apply(message(1, 2, entries, removed)).join()).toMatch(problem)
    expect(revocations).toMatchObject({ head: 1, size: 1, epoch })
    expect(revocations.apply(message(1, 2, [good]))).toEqual([])
    expect(revocations).toMatchObject({ head: 2, size: 2 })
  })

  test.each([
    [2, 3],
    [4, 5],
    [3, 2],
  ])('base %i to head %i, when we are at 3: refused', (base, head) => {
    const revocations = createRevocations()
    revocations.apply(message(0, 3, [entry('a', { $case: 'sub', sub: 'alice' })]))
    expect(revocations.apply(message(base, head, [], ['a']))).toHaveLength(1)
    expect(revocations).toMatchObject({ head: 3, size: 1 })
  })

  test('at the limit nothing is dropped: what does not fit is refused, until something has gone', () => {
    const revocations = createRevocations()
    const { named: most, perMessage } = REVOCATION_LIMITS
    let head = 0
    for (let sent = 0; sent < most; sent += perMessage) {
      const count = Math.min(perMessage, most - sent)
      const entries = Array.from({ length: count }, (_, i) =>
        entry(`${sent + i}`, { $case: 'jti', jti: `${i}` }),
      )
      expect(revocations.apply(message(head, head + count, entries))).toEqual([])
      head += count
    }
    const more = [entry('more', { $case: 'sub', sub: 'alice' })]
    expect(revocations.apply(message(head, head + 1, more))).toHaveLength(1)
    expect(revocations).toMatchObject({ head, size: most })
    expect(
      revocations.apply(message(head, head + 1, [entry('0', { $case: 'jti', jti: 'x' })], ['1'])),
    ).toEqual([])
    expect(revocations.apply(message(head + 1, head + 2, more))).toEqual([])
    expect(revocations.against(caller(), token(), AT)).toBe('revoked_sub')
  })

  test('text is limited too', () => {
    const revocations = createRevocations()
    let head = 0
    const fill = () => {
      const entries = Array.from({ length: 4096 }, (_, i) =>
        entry(
          `${head}-${i}`,
          { $case: 'jti', jti: 'x'.repeat(512) },
          { issuer: 'i'.repeat(512), source: 's'.repeat(320) },
        ),
      )
      const problems = revocations.apply(message(head, head + 1, entries))
      head += problems.length === 0 ? 1 : 0
      return problems
    }
    while (head < 100 && fill().length === 0);
    expect(head).toBeGreaterThan(1)
    expect(head).toBeLessThan(100)
    expect(revocations.size * (1024 + 320)).toBeLessThanOrEqual(REVOCATION_LIMITS.characters)
  })
})

describe('a full set', () => {
  const alice = entry('alice', { $case: 'sub', sub: 'alice' })
  const bob = entry('bob', { $case: 'sub', sub: 'bob' })

  test('in one message replaces what was', () => {
    const revocations = holding(alice)
    expect(revocations.apply(message(0, 5, [bob]))).toEqual([])
    expect(revocations.against(caller(), token(), AT)).toBeUndefined()
    expect(revocations).toMatchObject({ head: 5, size: 1 })
  })

  test('in parts forgets nothing, and moves no head, before the last of them', () => {
    const revocations = createRevocations()
    revocations.apply(message(0, 9, [alice, bob]))
    expect(revocations.apply(message(0, 4, [entry('new', { $case: 'jti', jti: 'j-9' })]))).toEqual([])
    expect(revocations).toMatchObject({ head: 9, size: 3 })
    expect(revocations.against(caller(), token(), AT)).toBe('revoked_sub')
    expect(revocations.apply(message(4, 9, [bob]))).toEqual([])
    expect(revocations).toMatchObject({ head: 9, size: 2 })
    expect(revocations.against(caller(), token(), AT)).toBeUndefined()
  })

  test('that never comes to an end changes nothing but what it adds', () => {
    const revocations = createRevocations()
    revocations.apply(message(0, 9, [alice]))
    revocations.apply(message(0, 4, [bob]))
    revocations.interrupted()
    expect(revocations.apply(message(9, 10, []))).toEqual([])
    expect(revocations.against(caller(), token(), AT)).toBe('revoked_sub')
    expect(revocations.against(caller({ subject: 'bob' }), token(), AT)).toBe('revoked_sub')
    expect(revocations.head).toBe(10)
  })

  test('of an operator that has forgotten takes nothing away: the head never goes backwards', () => {
    const revocations = createRevocations()
    revocations.apply(message(0, 9, [alice]))
    expect(revocations.apply(message(0, 2, []))).toEqual([])
    expect(revocations).toMatchObject({ head: 9, size: 1 })
  })

  test('as it is told to the operator keeps the limits of a message and loses nothing', () => {
    const revocations = createRevocations()
    const ids = Array.from({ length: 9_000 }, (_, i) => `id-${i}`)
    ids.forEach((id, index) => {
      revocations.apply(message(index, index + 1, [entry(id, { $case: 'jti', jti: id })]))
    })
    const parts = [...revocations.everything()]
    expect(parts.length).toBeGreaterThan(2)
    expect(parts.every(({ entries, head }) => entries.length <= 4096 && head === 9_000)).toBe(true)
    expect(parts.map(({ base }) => base === 0)).toEqual(parts.map((_, index) => index === 0))
    expect(parts.flatMap(({ entries }) => entries.map(({ id }) => id)).sort()).toEqual(ids.sort())
    expect([...createRevocations().everything()]).toEqual([message(0, 0)])
  })
})

test('000-24: whatever five million subjects had been given before a moment is denied by one record', () => {
  const moment = { issuedBeforeMs: AT }
  const revocations = holding(entry('r', { $case: 'everything', everything: true }, moment))
  expect(revocations.size).toBe(1)
  const people = 5_000_000
  for (let person = 0; person < people; person += 97) {
    const who = caller({ subject: `user-${person}`, jti: `j-${person}` })
    if (revocations.against(who, token(`s-${person}`), AT) !== 'revoked_issued_before')
      throw new Error(`user-${person} still gets in`)
  }
  expect(revocations.against(caller({ issuedAt: S + 1 }), token(), AT + 1_000)).toBeUndefined()
})

test('what has expired goes by itself, but not so early that a clock correction brings a token back', () => {
  const revocations = holding(
    entry('a', { $case: 'sub', sub: 'alice' }, { expiresAtMs: AT + 1_000 }),
    entry('b', { $case: 'sub', sub: 'bob' }),
  )
  revocations.sweep(AT + 6_000)
  expect(revocations.size).toBe(2)
  expect(revocations.against(caller(), token(), AT + 999)).toBe('revoked_sub')
  revocations.sweep(AT + 61_000)
  expect(revocations.size).toBe(1)
  revocations.sweep(LATER + 60_000)
  expect(revocations.size).toBe(0)
})

// An operator with a log, and a stream that breaks at any time: the naive model keeps a list and walks it.
interface Logged {
  readonly sequence: number
  readonly entry: Revocation
}
type Step =
  | { readonly do: 'revoke'; readonly entry: Revocation }
  | { readonly do: 'lift'; readonly index: number }
  | { readonly do: 'tell' }
  | { readonly do: 'tell all'; readonly parts: number; readonly break: number }
  | { readonly do: 'pass'; readonly ms: number }

const text = fc.constantFrom('a', 'b', 'alice', 'web')
const subject: fc.Arbitrary<Subject> = fc.oneof(
  text.map((jti): Subject => ({ $case: 'jti', jti })),
  text.map((sid): Subject => ({ $case: 'sid', sid })),
  text.map((sub): Subject => ({ $case: 'sub', sub })),
  text.map((clientId): Subject => ({ $case: 'clientId', clientId })),
  text.map((kid): Subject => ({ $case: 'kid', kid })),
  text.map((tenant): Subject => ({ $case: 'tenant', tenant })),
  fc.constant<Subject>({ $case: 'everything', everything: true }),
)
const issuer = fc.constantFrom('https://one.example', 'https://two.example')
const source = fc.constantFrom('shop/idp', 'other/idp')
const moment = fc.integer({ min: -3, max: 3 }).map((s) => AT + s * 1_000)
const anEntry: fc.Arbitrary<Revocation> = fc
  .record({
    id: fc.constantFrom(...'abcdefgh'),
    issuer,
    source,
    subject,
    before: moment,
    expiresAtMs: moment,
    all: fc.boolean(),
  })
  .map(({ before, all, ...one }) => ({
    ...one,
    issuedBeforeMs: all && one.subject?.$case !== 'everything' ? 0 : before,
  }))
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: anEntry.map((one): Step => ({ do: 'revoke', entry: one })) },
  { weight: 2, arbitrary: fc.nat({ max: 7 }).map((index): Step => ({ do: 'lift', index })) },
  { weight: 3, arbitrary: fc.constant<Step>({ do: 'tell' }) },
  {
    weight: 2,
    arbitrary: fc
      .record({ parts: fc.integer({ min: 1, max: 4 }), break: fc.integer({ min: 0, max: 5 }) })
      .map((one): Step => ({ do: 'tell all', ...one })),
  },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 2_000 }).map((ms): Step => ({ do: 'pass', ms })) },
)
const who = fc.record({
  issuer,
  source,
  subject: text,
  clientId: text,
  tenant: text,
  jti: text,
  kid: text,
  issuedAt: fc.integer({ min: S - 3, max: S + 3 }),
})

type Who = Principal & { readonly source: string }

function naivelyMet(entries: readonly Revocation[], one: Who, sid: unknown, at: number): boolean {
  const values: Readonly<Record<string, unknown>> = {
    jti: one.jti,
    sid,
    sub: one.subject,
    clientId: one.clientId,
    kid: one.kid,
    tenant: one.tenant,
    everything: true,
  }
  return entries.some(
    (revoked) =>
      revoked.issuer === one.issuer &&
      revoked.source === one.source &&
      at < revoked.expiresAtMs &&
      (revoked.issuedBeforeMs === 0 || one.issuedAt * 1000 <= revoked.issuedBeforeMs) &&
      (revoked.subject as unknown as Record<string, unknown>)[revoked.subject?.$case ?? ''] ===
        values[revoked.subject?.$case ?? ''],
  )
}

test('whatever is told in whatever order: level with the log it is the naive list, and never less than it was told', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.array(who, { minLength: 1, maxLength: 6 }),
      text,
      (steps, people, sid) => {
        const revocations = createRevocations()
        const live = new Map<string, Logged>()
        const log: { sequence: number; add?: Revocation; remove?: string }[] = []
        let at = AT
        const head = () => log.length
        const told = { head: 0 }
        const meets = (entries: readonly Revocation[]) =>
          people.map((one) => naivelyMet(entries, { ...caller(one), source: one.source }, sid, at))
        const found = () =>
          people.map((one) => revocations.against(caller(one), token(sid, one.source), at) !== undefined)
        for (const one of steps) {
          const before = revocations.head
          if (one.do === 'revoke') {
            log.push({ sequence: head() + 1, add: one.entry })
            live.set(one.entry.id, { sequence: head(), entry: one.entry })
          } else if (one.do === 'lift') {
            const id = [...live.keys()][one.index]
            if (id === undefined) continue
            live.delete(id)
            log.push({ sequence: head() + 1, remove: id })
          } else if (one.do === 'pass') {
            at += one.ms
            revocations.sweep(at)
          } else if (one.do === 'tell') {
            const since = log.filter(({ sequence }) => sequence > revocations.head)
            const last = new Map(since.map((record) => [record.add?.id ?? record.remove ?? '', record]))
            const entries = [...last.values()].flatMap(({ add }) => (add ? [add] : []))
            const removed = [...last.values()].flatMap(({ remove }) => (remove ? [remove] : []))
            expect(revocations.apply(message(revocations.head, head(), entries, removed))).toEqual([])
          } else {
            const all = [...live.values()].sort((a, b) => a.sequence - b.sequence)
            const size = Math.max(1, Math.ceil(all.length / one.parts))
            const pieces = Array.from({ length: one.parts }, (_, i) => all.slice(i * size, (i + 1) * size))
            let base = 0
            pieces.forEach((piece, index) => {
              if (index >= one.break) return
              const isLast = index === pieces.length - 1
              const next = isLast ? head() : (piece.at(-1)?.sequence ?? base)
              expect(
                revocations.apply(
                  message(
                    base,
                    next,
                    piece.map((each) => each.entry),
                  ),
                ),
              ).toEqual([])
              base = next
              // A part may not end at 0: that is where a full set begins.
              if (base === 0) base = next
            })
            revocations.interrupted()
          }
          told.head = Math.max(told.head, revocations.head)
          expect(revocations.head).toBeGreaterThanOrEqual(before)
          const known = [...live.values()].filter(({ sequence }) => sequence <= revocations.head)
          const must = meets(known.map((each) => each.entry))
          found().forEach((met, index) => {
            if (must[index]) expect(met).toBe(true)
          })
        }
        revocations.interrupted()
        expect(
          revocations.apply(
            message(
              0,
              head(),
              [...live.values()].map((each) => each.entry),
            ),
          ),
        ).toEqual([])
        expect(found()).toEqual(meets([...live.values()].map((each) => each.entry)))
      },
    ),
    { numRuns: 500 },
  )
})
