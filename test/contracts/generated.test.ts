import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'

// The contract is linted, compatible with its committed baseline, and its codec is what the pinned generator makes of it.

const CONTRACTS = resolve(import.meta.dirname, '../../contracts')
const work = mkdtempSync(join(tmpdir(), 'portcullis-contracts-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

function copyOfContracts(name: string): string {
  const copy = join(work, name)
  for (const part of ['buf.yaml', 'buf.gen.yaml', 'baseline.binpb', 'portcullis', 'standard']) {
    cpSync(join(CONTRACTS, part), join(copy, part), { recursive: true })
  }
  return copy
}

function buf(
  directory: string,
  ...args: readonly string[]
): { readonly code: number; readonly text: string } {
  const { status, stdout, stderr } = spawnSync('buf', args, { cwd: directory, encoding: 'utf8' })
  return { code: status ?? -1, text: `${stdout}${stderr}` }
}

describe('contracts', () => {
  test('the proto files pass the linter', () => {
    expect(buf(CONTRACTS, 'lint')).toEqual({ code: 0, text: '' })
  })
  test('nothing breaks the committed baseline', () => {
    expect(buf(CONTRACTS, 'breaking', '--against', 'baseline.binpb')).toEqual({ code: 0, text: '' })
  })
  test('a removed field would be found', () => {
    const copy = copyOfContracts('broken')
    const path = join(copy, 'portcullis/authorizer/v1/authorizer.proto')
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll('string decision_id = 10;', ''))
    const found = buf(copy, 'breaking', '--against', 'baseline.binpb')
    expect(found.code).not.toBe(0)
    expect(found.text).toContain('decision_id')
  })
  test('the committed codec is byte for byte what the generator makes', () => {
    const copy = copyOfContracts('generated')
    execFileSync('buf', ['generate'], { cwd: copy })
    const files = globSync('gen/**/*.ts', { cwd: copy }).sort()
    expect(globSync('gen/**/*.ts', { cwd: CONTRACTS }).sort()).toEqual(files)
    for (const file of files) {
      const committed = readFileSync(join(CONTRACTS, file), 'utf8')
      expect(committed === readFileSync(join(copy, file), 'utf8'), `${file}: run make generate`).toBe(true)
    }
  })
})
