// Every row of docs/reference/faults.md about what a sidecar depends on has the tests that it names, and every such test has its row.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { faultRows } from './faults/page.ts'

const rows = faultRows().filter(({ id }) => /^[CDEG]/.test(id))
const textOf = (file: string) => readFileSync(join(import.meta.dirname, `${file}.test.ts`), 'utf8')
const names = (text: string) => [...text.matchAll(/'(?:fault )?([CDEG]\d+):/g)].map(([, id = '']) => id)

test('all rows are there, each once', () => {
  const count = (letter: string, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => `${letter}${from + i}`)
  expect(rows.map(({ id }) => id)).toEqual([
    ...count('C', 1, 18),
    ...count('D', 1, 6),
    ...count('E', 1, 12),
    ...count('G', 13, 15),
  ])
})

test.each(rows.filter(({ shownBy }) => shownBy.length > 0))(
  '$id is inflicted by the tests that it names',
  ({ id, shownBy }) => {
    for (const file of shownBy) {
      expect(existsSync(join(import.meta.dirname, `${file}.test.ts`)), file).toBe(true)
      expect(names(textOf(file)), file).toContain(id)
    }
  },
)

test('every test in faults/ is named by its row, and that row names its file', () => {
  const files = readdirSync(join(import.meta.dirname, 'faults')).filter((name) => name.endsWith('.test.ts'))
  expect(files.length).toBeGreaterThan(3)
  for (const name of files) {
    const file = `faults/${name.slice(0, -'.test.ts'.length)}`
    for (const id of names(textOf(file)))
      expect(rows.find((row) => row.id === id)?.shownBy, `${file} ${id}`).toContain(file)
  }
})

test.each([
  ["test('fault C1: x'", ['C1']],
  ["describe('E6: x'", ['E6']],
  ["test('C1 is x'", []],
])('names are read from %s', (text, want) => {
  expect(names(text)).toEqual(want)
})
