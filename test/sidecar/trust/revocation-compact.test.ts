// Entries that machines make are kept by fingerprint: the same is denied as by a list of their texts, in 35 bytes each.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fingerprintOf, made as madeOf, subjectValue } from '../../../contracts/fingerprint.ts'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createFingerprintSet } from '../../../sidecar/trust/fingerprint-set.ts'
import { createRevocationTable } from '../../../sidecar/trust/revocation-table.ts'
import { createRevocations } from '../../../sidecar/trust/revocations.ts'
import { createRevocationTable as createModel } from './revocation-model.ts'
import { AT, caller, entry, LATER, message, type Subject, token } from './revocation-world.ts'

const S = AT / 1000

/** As the operator names what a machine made. */
function made(subject: Subject, change: Partial<Revocation> = {}): Revocation {
  const one = madeOf(entry('', subject, change))
  if (!one) throw new Error('no machine makes these')
  return one
}

const text = fc.constantFrom('a', 'b', 'alice', '\u00e9')
const subject: fc.Arbitrary<Subject> = fc.oneof(
  text.map((jti): Subject => ({ $case: 'jti', jti })),
  text.map((sid): Subject => ({ $case: 'sid', sid })),
  text.map((sub): Subject => ({ $case: 'sub', sub })),
  text.map((clientId): Subject => ({ $case: 'clientId', clientId })),
)
const place = fc.record({
  issuer: fc.constantFrom('https://one.example', 'https://two.example'),
  source: fc.constantFrom('shop/idp', 'other/idp', ''),
})
const seconds = fc.integer({ min: -3, max: 3 }).map((s) => AT + s * 1_000)
const anEntry = fc
  .record({
    place,
    subject,
    machine: fc.boolean(),
    id: fc.constantFrom('x', 'y', 'z'),
    all: fc.boolean(),
    before: seconds,
    expiresAtMs: seconds,
  })
  .map(({ place: where, subject: what, machine, id, all, before, expiresAtMs }) => {
    const change = { ...where, issuedBeforeMs: all ? 0 : before, expiresAtMs }
    return machine ? made(what, change) : entry(id, what, change)
  })
type Step =
  | { readonly do: 'put'; readonly entry: Revocation }
  | { readonly do: 'remove'; readonly index: number }
  | { readonly do: 'refill'; readonly entries: readonly Revocation[] }
  | { readonly do: 'sweep' }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: anEntry.map((one): Step => ({ do: 'put', entry: one })) },
  { weight: 2, arbitrary: fc.nat({ max: 30 }).map((index): Step => ({ do: 'remove', index })) },
  {
    weight: 1,
    arbitrary: fc.array(anEntry, { maxLength: 6 }).map((entries): Step => ({ do: 'refill', entries })),
  },
  { weight: 1, arbitrary: fc.constant<Step>({ do: 'sweep' }) },
)

function take(
  one: Step,
  table: ReturnType<typeof createRevocationTable>,
  model: ReturnType<typeof createModel>,
  ids: string[],
): void {
  const both = [table, model]
  switch (one.do) {
    case 'put':
      ids.push(one.entry.id)
      for (const each of both) each.put(one.entry)
      return
    case 'remove':
      for (const each of both) each.remove(ids[one.index] ?? 'x')
      return
    case 'sweep':
      for (const each of both) each.sweep(AT + 58_000)
      return
    case 'refill':
      ids.push(...one.entries.map(({ id }) => id))
      table.refill()
      for (const entry of one.entries) for (const into of both) into.put(entry)
      table.refilled()
      model.keepOnly(new Set(one.entries.map(({ id }) => id)))
      return
    default:
      one satisfies never
  }
}

test('denies exactly what the table of texts denies, whatever comes and goes', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.array(
        fc.record({
          place,
          subject: text,
          clientId: text,
          jti: text,
          sid: text,
          issuedAt: fc.integer({ min: S - 3, max: S + 3 }),
        }),
        { minLength: 1, maxLength: 10 },
      ),
      seconds,
      (steps, callers, at) => {
        const [table, model] = [createRevocationTable(), createModel()]
        const ids: string[] = []
        for (const one of steps) {
          take(one, table, model, ids)
          expect(table.size()).toBe(model.size())
        }
        for (const {
          place: { issuer, source },
          sid,
          ...who
        } of callers) {
          const principal = caller({ issuer, ...who })
          const facts = token(sid, source)
          expect(table.against(principal, facts, at)).toBe(model.against(principal, facts, at))
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('what is told by fingerprint to an operator, and comes back from it, denies the same', () => {
  fc.assert(
    fc.property(fc.array(anEntry, { maxLength: 20 }), (entries) => {
      const [before, after] = [createRevocations(), createRevocations()]
      expect(before.apply(message(0, 9, entries))).toEqual([])
      for (const part of before.everything()) expect(after.apply(part)).toEqual([])
      expect(after.size).toBe(before.size)
      for (const { issuer, source, subject: what } of entries) {
        const value = what ? subjectValue(what) : ''
        const who = caller({ issuer, subject: value, clientId: value, jti: value, issuedAt: S })
        const facts = token(value, source)
        expect(after.against(who, facts, AT)).toBe(before.against(who, facts, AT))
      }
    }),
  )
})

test('an end within a second denies until that second is over, and never shorter', () => {
  const table = createRevocationTable()
  table.put(made({ $case: 'jti', jti: 'j-1' }, { expiresAtMs: LATER + 1 }))
  expect(table.against(caller(), token(), LATER)).toBe('revoked_jti')
  expect(table.against(caller(), token(), LATER + 999)).toBe('revoked_jti')
  expect(table.against(caller(), token(), LATER + 1_000)).toBeUndefined()
})

describe('an id that does not follow from what the entry says is kept as it is', () => {
  test('of another value', () => {
    const table = createRevocationTable()
    const { id } = made({ $case: 'jti', jti: 'other' })
    table.put(entry(id, { $case: 'jti', jti: 'j-1' }))
    expect(table.against(caller(), token(), AT)).toBe('revoked_jti')
    expect(table.against(caller({ jti: 'other' }), token(), AT)).toBeUndefined()
    table.remove(id)
    expect(table.size()).toBe(0)
  })
  test('a fingerprint under an id of its own is refused: nobody could take it away', () => {
    const [told] = [...tellOf(made({ $case: 'jti', jti: 'j-1' }))]
    expect(
      createRevocations()
        .apply(message(0, 1, [{ ...told, id: 'free' }]))
        .join(),
    ).toMatch(/fingerprint/)
    expect(createRevocations().apply(message(0, 1, [told]))).toEqual([])
  })
})

function tellOf(one: Revocation): [Revocation] {
  const revocations = createRevocations()
  revocations.apply(message(0, 1, [one]))
  const [part] = [...revocations.everything()]
  const [told] = part?.entries ?? []
  if (!told) throw new Error('nothing was told')
  return [told]
}

const key = (index: number) =>
  fingerprintOf({ source: 'shop/idp', issuer: 'https://idp.example', kind: 'sid', value: `s-${index}` })

test('004-18: a set that grows through every size and shrinks again loses nothing and keeps nothing', () => {
  const set = createFingerprintSet()
  const most = 12_000
  for (let index = 0; index < most; index++)
    set.put(key(index), { expiresS: 1 + index, issuedBeforeS: index })
  expect(set.size).toBe(most)
  for (let index = 0; index < most; index += 2) expect(set.remove(key(index))).toBe(true)
  for (let index = 0; index < most; index++) {
    expect(set.get(key(index))).toEqual(index % 2 ? { expiresS: 1 + index, issuedBeforeS: index } : undefined)
  }
  for (let segment = 0; segment < set.segments; segment++) set.sweep(segment, most / 2)
  expect(set.size).toBe(most / 4)
  expect([...set.entries()].every(({ expiresS }) => expiresS > most / 2)).toBe(true)
})

test('004-18: a million entries take at most 35 bytes each', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const count = 1_000_000
  collect()
  const table = createRevocationTable()
  const used = () => {
    // Buffers that one collection finds are freed by the next.
    for (let times = 0; times < 4; times++) collect()
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    return arrayBuffers + heapUsed
  }
  const before = used()
  for (let index = 0; index < count; index++) table.put(made({ $case: 'sid', sid: `s-${index}` }))
  expect(table.size()).toBe(count)
  expect((used() - before) / count).toBeLessThanOrEqual(35)
  expect(table.against(caller(), token('s-123456'), AT)).toBe('revoked_sid')
  expect(table.against(caller(), token('s-1000000'), AT)).toBeUndefined()
}, 60_000)
