// The committed bundles are what sources and pinned compiler make, and the build refuses what it must.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { build, differing } from '../../policies/build.ts'
import { application, BUNDLES } from '../../policies/bundles.ts'
import { type Opa, openOpa } from '../../policies/opa.ts'
import { instantiate } from '../../policies/vectors.ts'
import { HOSTILE_BUNDLES } from './hostile.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const POLICIES = join(ROOT, 'policies')

let opa: Opa
/** A copy of the worked example, to be spoiled. */
let copy: string

// The first run on a machine builds the compiler.
beforeAll(() => {
  const toolchain = join(ROOT, 'test/toolchain/toolchain.sh')
  opa = openOpa(
    execFileSync(toolchain, ['path', 'opa'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).trim(),
  )
}, 600_000)

beforeEach(() => {
  copy = mkdtempSync(join(tmpdir(), 'portcullis-app-'))
  cpSync(join(POLICIES, 'invoices'), copy, { recursive: true })
})

afterEach(() => rmSync(copy, { recursive: true, force: true }))

function buildCopy(): string {
  return build(application('copy', [copy]), opa).summary
}

function edit(file: string, change: (text: string) => string): void {
  const path = join(copy, file)
  const before = readFileSync(path, 'utf8')
  const after = change(before)
  expect(after).not.toBe(before)
  writeFileSync(path, after)
}

function append(file: string, rego: string): void {
  edit(file, (text) => `${text}\n${rego}\n`)
}

test.each([...BUNDLES, ...HOSTILE_BUNDLES])('$name is byte for byte what its sources make', (spec) => {
  expect(differing(spec, build(spec, opa).files)).toEqual([])
})

// At -O2 this rule conflict comes out as two reasons to allow.
test('the optimiser leaves a rule conflict a conflict', () => {
  const wasm = readFileSync(join(import.meta.dirname, 'hostile/conflict/policy.wasm'))
  const evaluate = instantiate(wasm, '{}')
  expect(() => evaluate({ action: 'app:conflict', subject: { id: 'alice' } })).toThrow(/aborts: .*conflict/)
})

test('a changed, a missing and a surplus file are each named', () => {
  const [floor] = BUNDLES
  if (floor === undefined) throw new Error('no bundle')
  const { files } = build(floor, opa)
  const spec = { ...floor, out: copy }
  rmSync(copy, { recursive: true })
  cpSync(join(POLICIES, floor.out), copy, { recursive: true })
  expect(differing(spec, files)).toEqual([])
  writeFileSync(join(copy, 'plan.json'), '{}')
  rmSync(join(copy, 'data.json'))
  writeFileSync(join(copy, 'extra.rego'), '')
  expect(differing(spec, files).sort()).toEqual(
    ['data.json', 'extra.rego', 'plan.json'].map((f) => `${copy}/${f}`),
  )
})

test('the command exits 1, names the stale file and says what to run', () => {
  const lines = [
    `import { run } from '${POLICIES}/build.ts'`,
    `import { BUNDLES } from '${POLICIES}/bundles.ts'`,
    `process.exitCode = run([{ ...BUNDLES[0], out: '${copy}' }], ['--check'])`,
  ]
  writeFileSync(join(copy, 'cli.ts'), lines.join('\n'))
  const attempt = (): string =>
    execFileSync(process.execPath, [join(copy, 'cli.ts')], { encoding: 'utf8', stdio: 'pipe' })
  expect(attempt).toThrow(/policy\.wasm.*make generate/s)
})

test('the unspoiled copy builds', () => {
  expect(buildCopy()).toContain('coverage 100.0 %')
})

test.each(['portcullis.floor', 'portcullis.tenant', 'appendix', 'system', 'app.allow', 'app.deny.more'])(
  'package %s is refused: an application stays in app',
  (name) => {
    writeFileSync(join(copy, 'stray.rego'), `package ${name}\n\nx := 1\n`)
    expect(buildCopy).toThrow(/stray\.rego: package .* is outside "app"/)
  },
)

test.each([
  'allow := true',
  'default deny := false',
  'allow.x contains "y"',
  'deny["x"] := 1',
  'allow(x) := x',
])('"%s" is refused: the verdict sets are only added to', (rule) => {
  writeFileSync(join(copy, 'stray.rego'), `package app\n\n${rule}\n`)
  expect(buildCopy).toThrow(/must be a set that rules add to/)
})

test('a helper package under app is welcome', () => {
  writeFileSync(join(copy, 'helper.rego'), 'package app.helper\n\nlimit := 5\n')
  expect(buildCopy()).toContain('copy:')
})

test('data outside settings is refused', () => {
  writeFileSync(join(copy, 'data.json'), '{ "app": { "allow": ["everything"] } }')
  expect(buildCopy).toThrow(/"app" is not allowed; data of an application goes under "settings"/)
})

test('a failing test fails the build', () => {
  append('refund_test.rego', 'test_wrong if 1 == 2')
  expect(buildCopy).toThrow(/opa test failed:[\s\S]*test_wrong/)
})

test('untested rules fail the build and are named', () => {
  rmSync(join(copy, 'refund_test.rego'))
  expect(buildCopy).toThrow(/tests cover \d\d\.\d % .* at least 95 %.*refund\.rego \(lines /)
})

test('a field that is not in the input schema is a type error', () => {
  append('refund.rego', 'deny contains "typo" if input.subjekt.id == "x"')
  expect(buildCopy).toThrow(/opa check --strict failed:[\s\S]*undefined ref: input\.subjekt/)
})

test('a builtin of the host is refused', () => {
  append('refund.rego', 'deny contains "late" if time.now_ns() > 0')
  expect(buildCopy).toThrow(/undefined function time\.now_ns/)
})

test('print is refused', () => {
  append('refund.rego', 'deny contains "loud" if {\n\tprint(input.token)\n\tinput.action == "x"\n}')
  expect(buildCopy).toThrow(/opa check --strict failed:[\s\S]*print/)
})

test('unformatted Rego is refused with the command that repairs it', () => {
  append('refund.rego', '\n\n\nx   :=  1')
  expect(buildCopy).toThrow(/opa fmt --write FILE/)
})

test('a vector that does not hold is named with both verdicts', () => {
  edit('selftest.json', (text) => text.replace('"allow": ["invoice.read.owner"]', '"allow": ["someone"]'))
  expect(buildCopy).toThrow(
    /vector "the owner reads": policy\.wasm gives[\s\S]*invoice\.read\.owner[\s\S]*someone/,
  )
})

test('a vector whose input breaks the schema is refused', () => {
  edit('selftest.json', (text) => text.replace('"version": 1', '"version": "1"'))
  expect(buildCopy).toThrow(/outside its schema/)
})

test('data changes under the same module', () => {
  const before = build(application('copy', [copy]), opa).files
  writeFileSync(join(copy, 'data.json'), '{ "settings": { "refund_limit": 500, "unused": true } }')
  const after = build(application('copy', [copy]), opa).files
  expect(after.get('policy.wasm')).toEqual(before.get('policy.wasm'))
  expect(after.get('.manifest')).not.toEqual(before.get('.manifest'))
})
