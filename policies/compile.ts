// Rego to policy.wasm and plan.json, byte for byte the same wherever it runs.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { BundleSpec } from './bundles.ts'
import { BuildError, OPA_VERSION, type Opa } from './opa.ts'
import type { Sources } from './sources.ts'

export interface Modules {
  readonly wasm: Uint8Array
  readonly plan: Uint8Array
  /** Top-level members of `input` that any rule can read; the host need not hand over the others. */
  readonly reads: readonly string[]
}

/** Compiles twice, in two places, and refuses a result that depends on the place. */
export function compile(spec: BundleSpec, sources: Sources, opa: Opa): Modules {
  const first = once(spec, sources, opa)
  const second = once(spec, sources, opa)
  const alike = first.reads.join() === second.reads.join()
  if (!alike || !same(first.wasm, second.wasm) || !same(first.plan, second.plan)) {
    throw new BuildError(
      `${spec.name}: two builds of the same sources differ; the bundle would not be reproducible`,
    )
  }
  return first
}

/** The commands, as part of the revision: another recipe is another bundle. */
export function recipeOf(spec: BundleSpec): string[] {
  return [`opa ${OPA_VERSION}`, ...steps(spec).map(([, args]) => args.join(' '))]
}

// `opa build -O2 -t wasm` panics (opa issue 5548), so Rego is optimised to Rego first. The data document is
// kept out of that step: what lies outside the manifest's roots stays a reference and can change under a
// module.
//
// An application gets -O1 only. -O2 inlines complete rules: two values for one rule, which abort evaluation
// and so deny, become alternatives of which either may allow (seen with 1.22.2; hostile-src/conflict has
// one).
function steps(spec: BundleSpec): [string, string[]][] {
  const level = spec.layers.length === 0 ? '-O2' : '-O1'
  const limits = spec.unbounded ? ['--wasm-include-print'] : ['--capabilities', 'capabilities.json']
  const common = ['-e', spec.entrypoint, ...limits]
  const optimise: [string, string[]] = [
    'optimise',
    ['build', level, '-t', 'rego', '-b', 'source', ...common, '-o', 'optimised.tar.gz'],
  ]
  // The optimiser drops print statements, so a module that has to keep them goes without it.
  const from = spec.unbounded ? 'source' : 'optimised.tar.gz'
  return [
    ...(spec.unbounded ? [] : [optimise]),
    ['wasm', ['build', '-t', 'wasm', '-b', from, ...common, '-o', 'wasm.tar.gz']],
    ['plan', ['build', '-t', 'plan', '-b', from, ...common, '-o', 'plan.tar.gz']],
  ]
}

function once(spec: BundleSpec, sources: Sources, opa: Opa): Modules {
  const place = mkdtempSync(join(tmpdir(), 'portcullis-policies-'))
  try {
    stage(place, sources)
    for (const [step, args] of steps(spec)) opa.run(`${spec.name}: opa build (${step})`, args, place)
    return {
      wasm: member(join(place, 'wasm.tar.gz'), 'policy.wasm'),
      plan: member(join(place, 'plan.tar.gz'), 'plan.json'),
      reads: readsOf(spec, opa, place),
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

interface Term {
  readonly value: string
}

const EVERY_MEMBER = ['action', 'http', 'now', 'resource', 'subject', 'token', 'version']

// From the compiler's own dependency analysis, which cuts a reference off at its first variable: `input[x]` is all of it.
function readsOf(spec: BundleSpec, opa: Opa, place: string): readonly string[] {
  const rule = `data.${spec.entrypoint.replaceAll('/', '.')}`
  const found: unknown = JSON.parse(
    opa.run(`${spec.name}: opa deps`, ['deps', '-f', 'json', '-d', 'source', rule], place),
  )
  const { base = [] } = found as { readonly base?: readonly (readonly Term[])[] }
  const members = base.filter(([head]) => head?.value === 'input').map(([, member]) => member?.value)
  const all = members.includes(undefined)
  return all ? EVERY_MEMBER : [...new Set(members.filter((name) => name !== undefined))].sort()
}

// The compiler writes file names into the module, so it gets the same relative ones everywhere.
function stage(place: string, sources: Sources): void {
  for (const [name, path] of sources.rego) {
    const target = join(place, 'source', name)
    mkdirSync(dirname(target), { recursive: true })
    cpSync(path, target)
  }
  writeFileSync(join(place, 'source/.manifest'), '{"roots":["app","portcullis"]}')
  cpSync(sources.capabilities, join(place, 'capabilities.json'))
}

/** One file out of a .tar.gz that `opa` has just written: POSIX ustar, 512-byte blocks. */
export function member(archive: string, name: string): Uint8Array {
  const tar = gunzipSync(readFileSync(archive))
  for (let at = 0; at + 512 <= tar.length; ) {
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0
    const found = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '')
    if (found === name || found === `/${name}`) return tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  throw new BuildError(`opa wrote no ${name} into ${archive}`)
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
