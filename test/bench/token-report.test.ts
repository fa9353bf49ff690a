import { describe, expect, test } from 'vitest'
import { type TokenResults, tokenSection, withSection } from './token-report.ts'
import { createTokenRows, ROW_NAMES, type RowName } from './token-rows.ts'

const CPU: Readonly<Record<RowName, readonly number[]>> = {
  'bearer, new token': [90, 50, 60],
  'bearer, known token': [30, 20, 40],
  'DPoP, warm key, new token': [120, 200, 110],
  'DPoP, warm key, known token': [75, 70, 80],
  'DPoP, cold key, new token': [240, 260, 250],
  'mTLS-bound, new token': [66, 66, 66],
  'mTLS-bound, known token': [33, 33, 33],
  'empty RPC': [5, 6, 4],
}

function results(refused: Partial<Record<RowName, readonly string[]>> = {}): TokenResults {
  const rows = ROW_NAMES.map((name) => ({
    name,
    cpu: CPU[name],
    perSecond: [1_000, 3_000, 2_000],
    starved: [0.1, 0.3, 0.2],
    refused: refused[name] ?? [],
  }))
  const flags = ['--flag']
  const signatures = { RS256: [20, 21, 22], ES256: [70, 60, 80] }
  return {
    rows,
    signatures,
    rounds: 3,
    asked: 7,
    day: '2026-01-02',
    machine: 'm',
    flags,
    loads: [1.04, 2.06],
    seconds: 9,
  }
}

/** Cells of the line of a table that begins with this one. */
function cells(text: string, first: string): readonly string[] {
  const line = text.split('\n').find((one) => one.startsWith(`| ${first} `))
  return (line ?? '').split('|').map((cell) => cell.trim())
}

describe('the section on bound and remembered tokens', () => {
  test.each([
    ['bearer, new token', '2000', '60.0', '50.0', '90.0', '20%'],
    ['empty RPC', '2000', '5.0', '4.0', '6.0', '20%'],
  ])('%s: medians of the rounds, the least and the most', (name, ...rest) => {
    expect(cells(tokenSection(results()), name)).toEqual(['', name, ...rest, ''])
  })

  test.each([
    ['DPoP, warm key, new token / bearer, new token', '120.0 / 60.0', '2.00x', '2.20x', '<= 2.5x'],
    ['DPoP, warm key, known token / bearer, known token', '75.0 / 30.0', '2.50x', '3.50x', '<= 2.5x'],
    ['DPoP, cold key, new token / bearer, new token', '250.0 / 60.0', '4.17x', '4.80x', ''],
    ['DPoP, warm key, new token / (bearer, new token + ES256)', '120.0 / 130.0', '0.92x', '1.00x', ''],
    ['bearer, known token, minus empty RPC, microseconds', '30.0 - 5.0', '25.0', '16.0', '< 15'],
  ])('%s', (name, ...rest) => {
    expect(cells(tokenSection(results()), name)).toEqual(['', name, ...rest, ''])
  })

  test('load, flags and counts are told', () => {
    const text = tokenSection(results())
    for (const told of ['load average 1.0 before and 2.1 after', 'node --flag', '3 interleaved rounds of 7'])
      expect(text).toContain(told)
  })

  test('one answer that is no allow voids its row and every comparison with it, and no other', () => {
    const text = tokenSection(results({ 'empty RPC': ['dpop_replay', 'dpop_replay'] }))
    expect(cells(text, 'empty RPC')).toContain('VOID: 2 not allowed (dpop_replay)')
    expect(cells(text, 'bearer, known token, minus empty RPC, microseconds')).toContain('VOID')
    expect(cells(text, 'mTLS-bound, new token / bearer, new token')).toContain('1.10x')
  })
})

describe('the page keeps everything but the section', () => {
  const before = '# Page\n\ntext\n\n## Elsewhere\n\nmore\n'
  const [old, fresh] = [results(), { ...results(), day: '2026-03-04' }].map(tokenSection)

  test('a page without one gets it before the heading', () => {
    const page = withSection(before, old ?? '', '## Elsewhere')
    expect(page).toBe(`# Page\n\ntext\n\n${old}\n## Elsewhere\n\nmore\n`)
  })

  test('a page with one has it replaced', () => {
    const page = withSection(before, old ?? '', '## Elsewhere')
    expect(withSection(page, fresh ?? '', '## Elsewhere')).toBe(
      withSection(before, fresh ?? '', '## Elsewhere'),
    )
  })

  test('a page without the heading gets it at its end', () => {
    expect(withSection('# Page\n', old ?? '', '## Elsewhere')).toBe(`# Page\n\n${old}`)
  })
})

describe('questions of the rows', () => {
  const rounds = 2
  const asked = 12
  const rows = createTokenRows({ rounds, asked }, 1_700_000_000)
  const tokensOf = (name: RowName) =>
    [0, 1].flatMap((round) =>
      rows
        .batch(name, round, 1_700_000_000)
        .map(({ streamed }) => credential(streamed, /(?:Bearer|DPoP) ([\w.-]+)/)),
    )
  const credential = (frame: Buffer, pattern: RegExp) => pattern.exec(frame.toString('latin1'))?.[1] ?? ''

  test.each(ROW_NAMES.filter((name) => name.includes('new')))('%s: no token comes twice', (name) => {
    expect(new Set(tokensOf(name)).size).toBe(rounds * asked)
  })

  test.each(ROW_NAMES.filter((name) => name.includes('known')))('%s: ten tokens', (name) => {
    expect(new Set(tokensOf(name)).size).toBe(10)
  })

  test('no token is in two rows of the sidecar', () => {
    const all = ROW_NAMES.filter((name) => name !== 'empty RPC').flatMap((name) => [
      ...new Set(tokensOf(name)),
    ])
    expect(new Set(all).size).toBe(all.length)
  })
})
