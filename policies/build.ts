// Builds the policy bundles, or proves that the committed ones are what the sources make.
//
//   node policies/build.ts [--check] [--opa PATH]
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { BUNDLES, type BundleSpec } from './bundles.ts'
import { compile, recipeOf } from './compile.ts'
import { judge } from './judge.ts'
import { BuildError, type Opa, openOpa } from './opa.ts'
import { manifestOf } from './recipe.ts'
import { gather, HERE, revisionOf } from './sources.ts'
import { replay } from './vectors.ts'

/** The files of an unpacked OPA bundle, by name. */
export type Bundle = ReadonlyMap<string, Uint8Array>

export interface Built {
  readonly files: Bundle
  /** One line for people. */
  readonly summary: string
}

/** Judges, compiles and tries out one bundle. Throws a BuildError that says what is wrong; writes nothing. */
export function build(spec: BundleSpec, opa: Opa): Built {
  const sources = gather(spec)
  const judgement = spec.judged ? judge(spec, sources, opa) : undefined
  const { wasm, plan, reads } = compile(spec, sources, opa)
  const vectors = replay(spec, sources, wasm, opa)
  const data = sources.data === undefined ? Buffer.from('{}\n') : readFileSync(sources.data)
  const parts = new Map<string, Uint8Array>([
    ['policy.wasm', wasm],
    ['plan.json', plan],
    ['data.json', data],
    ['selftest.json', Buffer.from(`${JSON.stringify(vectors)}\n`)],
  ])
  const revision = revisionOf(spec, sources, recipeOf(spec))
  const files = new Map([['.manifest', manifestOf({ ...spec, revision, reads, parts })], ...parts])
  const tests = judgement ? `${judgement.tests} tests, coverage ${judgement.coverage.toFixed(1)} %, ` : ''
  const size = `policy.wasm ${wasm.length} B`
  return {
    files,
    summary: `${spec.name}: ${tests}${vectors.length} vectors, ${size}, ${revision.slice(0, 19)}`,
  }
}

/** Replaces the bundle directory's content. */
export function write(spec: BundleSpec, files: Bundle): void {
  const out = resolve(HERE, spec.out)
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  for (const [name, content] of files) writeFileSync(join(out, name), content)
}

/** Committed files that are not, byte for byte, what `files` says; missing and surplus ones included. */
export function differing(spec: BundleSpec, files: Bundle): string[] {
  const out = resolve(HERE, spec.out)
  const present = existsSync(out) ? readdirSync(out) : []
  const names = new Set([...files.keys(), ...present])
  return [...names]
    .filter((name) => !equal(files.get(name), join(out, name)))
    .map((name) => `${spec.out}/${name}`)
}

function equal(wanted: Uint8Array | undefined, path: string): boolean {
  return wanted !== undefined && existsSync(path) && Buffer.compare(wanted, readFileSync(path)) === 0
}

/** The command line for a list of bundles: exit code 0, or 1 with the reason on standard error. */
export function run(bundles: readonly BundleSpec[], args: readonly string[]): number {
  try {
    const options = { check: { type: 'boolean', default: false }, opa: { type: 'string' } } as const
    const { values } = parseArgs({ args: [...args], options })
    const opa = openOpa(values.opa)
    let stale: string[] = []
    for (const spec of bundles) {
      const { files, summary } = build(spec, opa)
      if (values.check) stale = [...stale, ...differing(spec, files)]
      else write(spec, files)
      process.stdout.write(`policies: ${summary}\n`)
    }
    if (stale.length === 0) return 0
    throw new BuildError(
      `not what the sources make: ${stale.join(', ')}. Run "make generate" and commit the result.`,
    )
  } catch (cause) {
    if (!(cause instanceof Error)) throw cause
    process.stderr.write(`policies: ${cause.message}\n`)
    return 1
  }
}

if (import.meta.main) process.exitCode = run(BUNDLES, process.argv.slice(2))
