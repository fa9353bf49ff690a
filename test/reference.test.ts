import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  ATTACKS,
  generatedPages,
  missing,
  OPEN,
  REQUIREMENTS,
  ROOT,
  type Row,
  shown,
} from './reference/pages.ts'
import { titlesOf } from './reference/titles.ts'

// Each requirement and each attack of ours has a test that carries its id; the pages that say so are what the tests are.

const by = shown()
const rows = [...REQUIREMENTS, ...ATTACKS]

test('every row of ours is shown by a test, but those that are known to be open', () => {
  expect(missing(rows, by)).toEqual(OPEN)
})

test.each([...(await generatedPages())])(
  '%s is what `node test/reference/generate.ts` writes',
  (path, text) => {
    expect(readFileSync(join(ROOT, path), 'utf8')).toBe(text)
  },
)

test('no test carries the id of a requirement or an attack that does not exist', () => {
  const known = new Set(rows.map(({ id }) => id))
  const wrong = [...by].filter(([id]) => /^(?:00|attack)/.test(id) && !known.has(id))
  expect(wrong.map(([id, titles]) => `${id} in ${titles[0]?.file}`)).toEqual([])
})

describe('the lists', () => {
  test('name each id once, in full', () => {
    const ids = rows.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ATTACKS.map(({ id }) => id)).toEqual(
      Array.from({ length: 88 }, (_, index) => `attack ${index + 1}`),
    )
    const count = (family: string) => ids.filter((id) => id.startsWith(family)).length
    expect(['000', '001', '002', '003', '004'].map((seed) => count(`${seed}-`))).toEqual([36, 22, 20, 21, 39])
    expect(Object.fromEntries([...'JAIDPMXTERLFSOZ'].map((letter) => [letter, count(letter)]))).toEqual({
      J: 19,
      A: 8,
      I: 12,
      D: 12,
      P: 13,
      M: 5,
      X: 5,
      T: 9,
      E: 6,
      R: 5,
      L: 9,
      F: 7,
      S: 10,
      O: 5,
      Z: 10,
    })
  })

  test('leave for later only what the issue leaves for later', () => {
    const later = REQUIREMENTS.filter(({ owner }) => owner === 'later').map(({ id }) => id)
    expect(later.filter((id) => !/^(?:F|S)\d+$|^T8$/.test(id))).toEqual([])
  })

  test('know their owners', () => {
    const owners = new Set(REQUIREMENTS.map(({ owner }) => owner))
    expect([...owners].toSorted()).toEqual([
      'client',
      'documentation',
      'later',
      'operator',
      'provider',
      'sidecar',
      'tokens',
    ])
    expect(REQUIREMENTS.filter(({ what }) => what.length < 5)).toEqual([])
  })
})

describe('a test shows what its name begins with', () => {
  const idsOf = (line: string, file = 'test/sidecar/x.test.ts') =>
    titlesOf(file, line).flatMap(({ ids }) => ids)

  test.each([
    ["test('D6: a proof', () => {", ['D6']],
    ["describe('003-01, 003-02: routes', () => {", ['003-01', '003-02']],
    ["test('attack 57: D9: forged', () => {", ['attack 57', 'D9']],
    ["test('001-02 001-21: a table', () => {", ['001-02', '001-21']],
    ["test('000-17 to 000-19: alerts', () => {", ['000-17', '000-18', '000-19']],
    ['test("J7 and J8: headers that the issuer\'s key signed", () => {', ['J7', 'J8']],
    ["['P2: a row of a table', 1],", ['P2']],
    ["test('about D6: a proof', () => {", []],
    ["test('D6 without an end of its ids', () => {", []],
    ["test.skip('D6: a proof', () => {", []],
    ["test.todo('D6: a proof')", []],
  ])('%j names %j', (line, ids) => {
    expect(idsOf(line)).toEqual(ids)
  })

  test.each([
    ['D4', 'test/faults/redis.test.ts'],
    ['E6', 'test/contracts/redis.test.ts'],
    ['I7', 'test/cluster/faults-state.test.ts'],
  ])('a fault %s of %s is no requirement', (id, file) => {
    expect(idsOf(`test('${id}: what happened', () => {`, file)).toEqual([])
  })

  test('a row without one is missing, whoever is not its owner', () => {
    const row = (id: string, owner: string): Row => ({ id, owner, what: 'anything' })
    const some = [row('D6', 'sidecar'), row('D7', 'sidecar'), row('D8', 'provider')]
    const titles = new Map([['D7', titlesOf('test/sidecar/x.test.ts', "test('D7: a proof')")]])
    expect(missing(some, titles)).toEqual(['D6'])
  })
})
