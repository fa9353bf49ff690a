import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createCompile } from '../../../operator/gather/compile.ts'
import type { PolicySources } from '../../../operator/gather/policy-tree.ts'
import { APPLICATION_ENTRYPOINT, engineLimits, prepareBundle } from '../../../sidecar/policy/bundle.ts'

const ROOT = resolve(import.meta.dirname, '../../..')
const opa = execFileSync('bash', [`${ROOT}/test/toolchain/toolchain.sh`, 'path', 'opa'], {
  encoding: 'utf8',
  stdio: ['ignore', 'pipe', 'ignore'],
}).trim()
const compile = createCompile({
  opa,
  policies: `${ROOT}/policies`,
  sleep: (ms, signal) => delay(ms, undefined, { signal }),
})
const life = new AbortController().signal

const invoices = (...changes: readonly (readonly [string, string])[]): PolicySources => {
  const names = ['colleagues', 'invoice', 'refund'].flatMap((name) => [`${name}.rego`, `${name}_test.rego`])
  const read = (name: string) => readFileSync(`${ROOT}/policies/invoices/${name}`, 'utf8')
  const { settings } = JSON.parse(read('data.json')) as { settings: unknown }
  const files = names.map((name) => [name, read(name)] as const)
  return { modules: new Map([...files, ...changes]), settings: JSON.stringify(settings) }
}

const only = (rego: string, tests?: string): PolicySources => ({
  modules: new Map([['a.rego', rego], ...(tests === undefined ? [] : ([['a_test.rego', tests]] as const))]),
  settings: '{}',
})

test('what the operator compiles, the sidecar loads, self-test and all', async () => {
  const compiled = await compile(invoices(), 'Required', life)
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems))
  expect(compiled.bundle.tests).toBe(14)
  const module = await prepareBundle(compiled.bundle.files, APPLICATION_ENTRYPOINT, engineLimits(64 << 20))
  expect(module.revision).toBe(compiled.bundle.revision)
  const vectors = JSON.parse(String(compiled.bundle.files.get('selftest.json'))) as {
    want: { effect: string }
  }[]
  expect(new Set(vectors.map(({ want }) => want.effect))).toEqual(new Set(['allow', 'deny']))
})

test('the same sources give the same bytes, and a comment gives the same revision', async () => {
  const [one, two, commented] = await Promise.all([
    compile(invoices(), 'Skip', life),
    compile(invoices(), 'Skip', life),
    compile(
      invoices(['colleagues.rego', `${invoices().modules.get('colleagues.rego')}\n# a remark\n`]),
      'Skip',
      life,
    ),
  ])
  if (!one.ok || !two.ok || !commented.ok) throw new Error('did not compile')
  expect(two.bundle.files).toEqual(one.bundle.files)
  expect(commented.bundle.revision).toBe(one.bundle.revision)
})

const TESTED = `package app_test

import data.app

test_y if "x" in app.allow with input as {"action": "a:y"}
`

test.each<
  readonly [what: string, sources: PolicySources, stage: string, file: string, line: number, message: RegExp]
>([
  [
    'a syntax error',
    only('package app\n\nallow contains "x" if {\n\tinput.action = = "y"\n}\n'),
    'compile',
    'a.rego',
    4,
    /unexpected/,
  ],
  [
    'a builtin outside our capabilities',
    only('package app\n\nallow contains "x" if http.send({})\n'),
    'compile',
    'a.rego',
    3,
    /undefined function http.send/,
  ],
  [
    'a package outside app',
    only('package portcullis.entry\n\nverdict := 1\n'),
    'compile',
    'a.rego',
    1,
    /outside "app"/,
  ],
  [
    'a complete rule for a verdict',
    only('package app\n\nallow := {"x"}\n'),
    'compile',
    'a.rego',
    1,
    /must be a set/,
  ],
  ['no test', only('package app\n\nallow contains "x" if input.action == "a:y"\n'), 'test', '', 0, /no test/],
  [
    'a failing test',
    only('package app\n\nallow contains "x" if input.action == "a:z"\n', TESTED),
    'test',
    'a_test.rego',
    5,
    /test_y fails/,
  ],
])('%s is told with file and line', async (...[, sources, stage, file, line, message]) => {
  const compiled = await compile(sources, 'Required', life)
  expect(compiled).toMatchObject({
    ok: false,
    stage,
    problems: [{ file, line, message: expect.stringMatching(message) }],
  })
})

test('rules that contradict each other are told, not shipped', async () => {
  const rego =
    'package app\n\nallow contains level if input.action == "a:y"\n\nlevel := "x" if input.version\n\nlevel := "z" if input.action == "a:y"\n'
  const compiled = await compile(only(rego), 'Skip', life)
  expect(compiled).toMatchObject({ ok: false, stage: 'compile' })
  expect(JSON.stringify(compiled)).toMatch(/a\.rego.*"line":\d+.*conflict/)
})

test('a compiler that does not end is ended, and the author is told which limit was passed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-slow-'))
  const opaThatHangs = join(folder, 'opa')
  writeFileSync(opaThatHangs, '#!/bin/sh\nwhile :; do :; done\n', { mode: 0o755 })
  const slow = createCompile({
    opa: opaThatHangs,
    policies: `${ROOT}/policies`,
    sleep: (ms, signal) => delay(ms / 50, undefined, { signal }),
  })
  const compiled = await slow(only('package app\n'), 'Skip', life)
  expect(compiled).toMatchObject({
    ok: false,
    problems: [{ message: 'the compiler took longer than 10000 ms' }],
  })
})
