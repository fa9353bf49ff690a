// Rego to policy.wasm and plan.json, byte for byte the same wherever it runs.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { BundleSpec } from './bundles.ts'
import { BuildError, OPA_VERSION, type Opa } from './opa.ts'
import { depsOf, member, readsIn, type Step, stepsOf } from './recipe.ts'
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

function steps(spec: BundleSpec): readonly Step[] {
  const { entrypoint, layers, unbounded = false } = spec
  return stepsOf({ entrypoint, application: layers.length > 0, unbounded })
}

function once(spec: BundleSpec, sources: Sources, opa: Opa): Modules {
  const place = mkdtempSync(join(tmpdir(), 'portcullis-policies-'))
  try {
    stage(place, sources)
    for (const [step, args] of steps(spec)) opa.run(`${spec.name}: opa build (${step})`, args, place)
    return {
      wasm: member(readFileSync(join(place, 'wasm.tar.gz')), 'policy.wasm'),
      plan: member(readFileSync(join(place, 'plan.tar.gz')), 'plan.json'),
      reads: readsOf(spec, opa, place),
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

// From the compiler's own dependency analysis.
function readsOf(spec: BundleSpec, opa: Opa, place: string): readonly string[] {
  return readsIn(opa.run(`${spec.name}: opa deps`, depsOf(spec.entrypoint), place))
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

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
