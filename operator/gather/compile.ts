import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { depsOf, manifestOf, member, packageProblem, readsIn, stepsOf } from '../../policies/recipe.ts'
import type { Sleep } from '../ports.ts'
import { type ChildLimits, type ChildResult, runChild } from './child.ts'
import { authoredPath, dataOf, type PolicySources, stage, stagedPath } from './policy-tree.ts'
import { type Problem, problemsIn, refused, testProblems } from './problems.ts'
import { type Vector, vectorsOf } from './vectors.ts'

/** A compiled bundle, not yet signed. */
export interface CompiledBundle {
  readonly revision: string
  readonly files: ReadonlyMap<string, Buffer>
  /** Tests that ran and passed. */
  readonly tests: number
}

/** What came of it. `stage` says how far it got: a bundle that compiles may still fail its tests. */
export type Compiled =
  | { readonly ok: true; readonly bundle: CompiledBundle }
  | { readonly ok: false; readonly stage: 'compile' | 'test'; readonly problems: readonly Problem[] }

export interface CompilerNeeds {
  /** The pinned `opa`. */
  readonly opa: string
  /** The `policies` folder of this program. */
  readonly policies: string
  readonly sleep: Sleep
}

/** Of each command. A policy that needs more is refused, with the limit in the message. */
export const COMPILE_LIMITS: ChildLimits = {
  timeoutMs: 10_000,
  memoryBytes: 512 * 1024 * 1024,
  outputBytes: 8 * 1024 * 1024,
}

const RECIPE = { entrypoint: 'portcullis/entry/verdict', application: true } as const
const ROOTS = ['app', 'portcullis/entry', 'settings']

export type Compile = (
  sources: PolicySources,
  tests: 'Required' | 'Skip',
  signal: AbortSignal,
) => Promise<Compiled>

/**
 * Rego to a bundle: strict check with the input's schema and our capabilities, package rule, the author's tests, two optimising builds, and
 * the self-test vectors that every sidecar replays. Each command is a child process inside `COMPILE_LIMITS`. Rejects only when the
 * compiler itself cannot be used.
 */
export function createCompile(needs: CompilerNeeds): Compile {
  return async (sources, tests, signal) => {
    const place = await mkdtemp(join(tmpdir(), 'portcullis-policy-'))
    try {
      await stage(place, sources, needs.policies)
      const opa: Opa = (args) =>
        runChild({ program: needs.opa, args, cwd: place }, COMPILE_LIMITS, needs.sleep, signal)
      return await judged(sources, tests, opa, place)
    } catch (cause) {
      // A limit was passed: the author's doing, and told to the author.
      if (signal.aborted || !(cause instanceof Error) || 'code' in cause) throw cause
      return {
        ok: false,
        stage: 'compile',
        problems: [{ file: '', line: 0, message: `the compiler ${cause.message}` }],
      }
    } finally {
      await rm(place, { recursive: true, force: true })
    }
  }
}

type Opa = (args: readonly string[]) => Promise<ChildResult>

const CHECK = [
  'check',
  '--strict',
  '--format',
  'json',
  '--capabilities',
  'capabilities.json',
  '--schema',
  'input.json',
]

async function judged(
  sources: PolicySources,
  tests: 'Required' | 'Skip',
  opa: Opa,
  place: string,
): Promise<Compiled> {
  const checked = await opa([...CHECK, 'source'])
  if (checked.code !== 0) return failed('compile', problemsIn(checked))
  const strays = await packageProblems(sources, opa)
  if (strays.length > 0) return failed('compile', strays)
  const tested = await runTests(sources, tests, opa)
  if (!tested.ok) return failed('test', tested.problems)
  for (const [name, args] of stepsOf(RECIPE)) {
    const built = await opa(args)
    if (built.code !== 0) return failed('compile', problemsIn(built, `opa build (${name})`))
  }
  const analysed = await opa(depsOf(RECIPE.entrypoint))
  if (analysed.code !== 0) return failed('compile', problemsIn(analysed, 'opa deps'))
  const vectors = await vectorsOf(sources, opa, place, RECIPE.entrypoint)
  if (!Array.isArray(vectors)) return failed('compile', [vectors as Problem])
  const files = await bundleFiles(place, sources, readsIn(analysed.stdout), vectors as readonly Vector[])
  return { ok: true, bundle: { ...files, tests: tested.count } }
}

function failed(stage: 'compile' | 'test', problems: readonly Problem[]): Compiled {
  return { ok: false, stage, problems: problems.map((one) => ({ ...one, file: authoredPath(one.file) })) }
}

async function packageProblems(sources: PolicySources, opa: Opa): Promise<readonly Problem[]> {
  const problems: Problem[] = []
  for (const path of sources.modules.keys()) {
    if (path.endsWith('_test.rego')) continue
    const parsed = await opa(['parse', '--format', 'json', stagedPath(path)])
    const message = parsed.code === 0 ? packageProblem(parsed.stdout) : 'cannot be parsed'
    if (message !== undefined) problems.push({ file: path, line: 1, message })
  }
  return problems
}

type Tested =
  | { readonly ok: true; readonly count: number }
  | { readonly ok: false; readonly problems: readonly Problem[] }

async function runTests(sources: PolicySources, wanted: 'Required' | 'Skip', opa: Opa): Promise<Tested> {
  if (wanted === 'Skip') return { ok: true, count: 0 }
  if (![...sources.modules.keys()].some((path) => path.endsWith('_test.rego'))) {
    const message = 'there is no test; add a module whose path ends in _test.rego, or set spec.tests to Skip'
    return { ok: false, problems: [{ file: '', line: 0, message }] }
  }
  const run = await opa(['test', '--format', 'json', 'source', 'tests', 'settings'])
  const outcome = testProblems(run)
  if (outcome.problems.length > 0) return { ok: false, problems: outcome.problems }
  if (outcome.count === 0) {
    return { ok: false, problems: [refused('no test ran; name test rules test_…')] }
  }
  return { ok: true, count: outcome.count }
}

async function bundleFiles(
  place: string,
  sources: PolicySources,
  reads: readonly string[],
  vectors: readonly Vector[],
): Promise<Omit<CompiledBundle, 'tests'>> {
  const [wasm, plan] = await Promise.all([
    readFile(join(place, 'wasm.tar.gz')),
    readFile(join(place, 'plan.tar.gz')),
  ])
  const parts = new Map<string, Buffer>([
    ['policy.wasm', Buffer.from(member(wasm, 'policy.wasm'))],
    ['plan.json', Buffer.from(member(plan, 'plan.json'))],
    ['data.json', Buffer.from(dataOf(sources))],
    ['selftest.json', Buffer.from(`${JSON.stringify(vectors)}\n`)],
  ])
  const revision = revisionOf(parts)
  const manifest = manifestOf({
    name: 'application',
    roots: ROOTS,
    entrypoint: RECIPE.entrypoint,
    revision,
    reads,
    parts,
  })
  return { revision, files: new Map([['.manifest', manifest], ...parts]) }
}

// Names the content, not the sources: a comment that changes no rule is no new policy for the fleet.
function revisionOf(parts: ReadonlyMap<string, Buffer>): string {
  const sum = createHash('sha256')
  for (const [name, content] of [...parts].sort())
    sum.update(`${name.length}:${name}:${content.length}:`).update(content)
  return `sha256:${sum.digest('hex')}`
}
