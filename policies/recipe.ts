// The road from Rego to a bundle that the build and the operator share: commands, dependency analysis, the package rule, the manifest.
import { gunzipSync } from 'node:zlib'
import { record } from './json.ts'
import { BuildError, OPA_VERSION } from './opa.ts'
import { digest } from './sources.ts'

/** What decides the commands. */
export interface Recipe {
  /** Rule that the sidecar evaluates, slash separated. */
  readonly entrypoint: string
  /** An application, as opposed to the floor. */
  readonly application: boolean
  /** Builtins of the host and print; hostile test bundles only. */
  readonly unbounded?: boolean
}

/** A step's name and the arguments of `opa`, to be run where `source/` and `capabilities.json` are. */
export type Step = readonly [name: string, args: readonly string[]]

// `opa build -O2 -t wasm` panics (opa issue 5548), so Rego is optimised to Rego first. The data document is
// kept out of that step: what lies outside the manifest's roots stays a reference and can change under a
// module.
//
// An application gets -O1 only. -O2 inlines complete rules: two values for one rule, which abort evaluation
// and so deny, become alternatives of which either may allow (seen with 1.22.2; hostile-src/conflict has
// one).
export function stepsOf({ entrypoint, application, unbounded }: Recipe): readonly Step[] {
  const level = application ? '-O1' : '-O2'
  const limits = unbounded ? ['--wasm-include-print'] : ['--capabilities', 'capabilities.json']
  const common = ['-e', entrypoint, ...limits]
  const optimise: Step = [
    'optimise',
    ['build', level, '-t', 'rego', '-b', 'source', ...common, '-o', 'optimised.tar.gz'],
  ]
  // The optimiser drops print statements, so a module that has to keep them goes without it.
  const from = unbounded ? 'source' : 'optimised.tar.gz'
  return [
    ...(unbounded ? [] : [optimise]),
    ['wasm', ['build', '-t', 'wasm', '-b', from, ...common, '-o', 'wasm.tar.gz']],
    ['plan', ['build', '-t', 'plan', '-b', from, ...common, '-o', 'plan.tar.gz']],
  ]
}

interface Term {
  readonly value: string
}

const EVERY_MEMBER = [
  'action',
  'authorization_details',
  'http',
  'now',
  'resource',
  'subject',
  'token',
  'version',
]
/** Members of the subject that are handed over only where a rule reads them. */
const OF_SUBJECT = ['acr', 'actor', 'amr', 'auth_time', 'confirmation', 'former_actors']

/** Arguments of the dependency analysis of `entrypoint`. */
export function depsOf(entrypoint: string): readonly string[] {
  return ['deps', '-f', 'json', '-d', 'source', `data.${entrypoint.replaceAll('/', '.')}`]
}

/**
 * Members of `input` that any rule can read: top-level ones, and of the subject those that are optional, as `subject.acr`. The analysis cuts
 * a reference off at its first variable: `input[x]` is all of it, `input.subject` all of that.
 */
export function readsIn(analysis: string): readonly string[] {
  const { base = [] } = JSON.parse(analysis) as { readonly base?: readonly (readonly Term[])[] }
  const paths = base
    .filter(([head]) => head?.value === 'input')
    .map((path) => path.slice(1).map(({ value }) => value))
  const reads = paths.flatMap(([member, inner]) => {
    if (member === undefined) return [...EVERY_MEMBER, ...OF_SUBJECT.map(ofSubject)]
    if (member !== 'subject') return [member]
    const optional = OF_SUBJECT.filter((name) => inner === undefined || inner === name)
    return [member, ...optional.map(ofSubject)]
  })
  return [...new Set(reads)].sort()
}

const ofSubject = (name: string): string => `subject.${name}`

/** One file out of a .tar.gz that `opa` has just written: POSIX ustar, 512-byte blocks. */
export function member(archive: Uint8Array, name: string): Uint8Array {
  const tar = gunzipSync(archive)
  for (let at = 0; at + 512 <= tar.length; ) {
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0
    const found = tar.toString('latin1', at, at + 100).replace(/\0.*$/s, '')
    if (found === name || found === `/${name}`) return tar.subarray(at + 512, at + 512 + size)
    at += 512 + Math.ceil(size / 512) * 512
  }
  throw new BuildError(`opa wrote no ${name} `)
}

/** What a manifest tells. */
export interface Contents {
  readonly name: string
  readonly roots: readonly string[]
  readonly entrypoint: string
  readonly revision: string
  readonly reads: readonly string[]
  /** Content of the other files, by name. */
  readonly parts: ReadonlyMap<string, Uint8Array>
}

/** The bundle's `.manifest`. */
export function manifestOf({ name, roots, entrypoint, revision, reads, parts }: Contents): Buffer {
  const digests = Object.fromEntries([...parts].map(([file, content]) => [file, digest(content)]))
  const content = {
    revision,
    roots,
    wasm: [{ entrypoint, module: '/policy.wasm' }],
    rego_version: 1,
    metadata: { name, compiler: `opa ${OPA_VERSION}`, input_version: 1, reads, digests },
  }
  return Buffer.from(`${JSON.stringify(content, undefined, 2)}\n`)
}

/** What breaks the package rule in a parsed module (`opa parse --format json`), if anything: only portcullis.entry makes the verdict; an application adds to two sets. */
export function packageProblem(parsed: string): string | undefined {
  const module = parseModule(parsed)
  const [root, next] = module.path
  const name = `package ${module.path.join('.')}`
  if (root !== 'app' || next === 'allow' || next === 'deny') {
    return `${name} is outside "app": name it app, or app.<name> for helpers`
  }
  const wrong =
    module.path.length > 1 ? undefined : module.rules.find((rule) => isVerdict(rule) && !rule.partial)
  if (wrong === undefined) return undefined
  return `${name}: "${wrong.name}" must be a set that rules add to: write "${wrong.name} contains ... if ..."`
}

function isVerdict(rule: Rule): boolean {
  return rule.name === 'allow' || rule.name === 'deny'
}

interface Rule {
  readonly name: string
  /** Adds to a set: `name contains x`. */
  readonly partial: boolean
}

function parseModule(json: string): { path: string[]; rules: Rule[] } {
  const module = record(JSON.parse(json))
  const rules = Array.isArray(module['rules']) ? module['rules'] : []
  return { path: names(record(module['package'])['path']).slice(1), rules: rules.map(parseRule) }
}

function parseRule(rule: unknown): Rule {
  const head = record(record(rule)['head'])
  const ref = names(head['ref'])
  const partial = head['key'] !== undefined && head['value'] === undefined && ref.length === 1
  return { name: ref[0] ?? '', partial }
}

function names(terms: unknown): string[] {
  return Array.isArray(terms) ? terms.map((term) => String(record(term)['value'])) : []
}
