// The golden vectors that a bundle carries and the sidecar replays at load: they must hold before shipping.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { BundleSpec } from './bundles.ts'
import { readJson, record } from './json.ts'
import { BuildError, type Opa } from './opa.ts'
import { HERE, type Sources, shown } from './sources.ts'

const AT_LEAST = 10

export interface Vector {
  readonly name: string
  readonly input: unknown
  readonly want: unknown
}

export function parseVectors(file: string): Vector[] {
  const list = readJson(file)
  if (!Array.isArray(list)) throw new BuildError(`${shown(file)}: must be an array of {name, input, want}`)
  return list.map((entry: unknown, at) => {
    if (
      typeof entry === 'object' &&
      entry !== null &&
      'name' in entry &&
      'input' in entry &&
      'want' in entry
    ) {
      if (typeof entry.name === 'string') return { name: entry.name, input: entry.input, want: entry.want }
    }
    throw new BuildError(`${shown(file)}: entry ${at} must be {name, input, want}`)
  })
}

/** Every vector must come out as wanted, from the module that ships and, if judged, from OPA's evaluator. */
export function replay(spec: BundleSpec, sources: Sources, wasm: Uint8Array, opa: Opa): Vector[] {
  const vectors = parseVectors(sources.selftest)
  const data = sources.data === undefined ? '{}' : readFileSync(sources.data, 'utf8')
  const evaluate = instantiate(wasm, data)
  for (const vector of vectors) compare(spec, 'policy.wasm', vector, evaluate(vector.input))
  if (!spec.judged) return vectors
  if (vectors.length < AT_LEAST) {
    throw new BuildError(
      `${spec.name}: selftest.json has ${vectors.length} vectors, at least ${AT_LEAST} are needed`,
    )
  }
  const answers = interpret(spec, sources, vectors, opa)
  for (const [at, vector] of vectors.entries()) {
    const answer = answers[at]
    if (answer === undefined) {
      throw new BuildError(
        `${spec.name}: vector "${vector.name}": no verdict, or a document outside its schema`,
      )
    }
    compare(spec, 'opa eval', vector, answer)
  }
  return vectors
}

function compare(spec: BundleSpec, who: string, { name, want }: Vector, got: unknown): void {
  if (isDeepStrictEqual(got, want)) return
  const difference = `${who} gives\n  ${JSON.stringify(got)}\nwanted\n  ${JSON.stringify(want)}`
  throw new BuildError(`${spec.name}: vector "${name}": ${difference}`)
}

// One evaluation for all; a vector whose documents do not match their schemas has no answer. A module and
// not a query on the command line: there, `with input as` inside a comprehension is ignored (seen with
// 1.22.2).
function interpret(spec: BundleSpec, sources: Sources, vectors: readonly Vector[], opa: Opa): unknown[] {
  const place = mkdtempSync(join(tmpdir(), 'portcullis-vectors-'))
  try {
    const schemas = { input: readJson(sources.schema), verdict: readJson(join(HERE, 'schema/verdict.json')) }
    writeFileSync(join(place, 'vectors.json'), JSON.stringify({ check: { vectors, schemas } }))
    writeFileSync(join(place, 'replay.rego'), replayModule(`data.${spec.entrypoint.replaceAll('/', '.')}`))
    const loaded = [...sources.rego.values(), ...(sources.data ? [sources.data] : []), place].flatMap(
      (path) => ['--data', path],
    )
    const args = ['eval', '--format', 'raw', ...loaded, 'data.replay.answers']
    const answers: unknown = JSON.parse(opa.run(`${spec.name}: opa eval`, args, HERE))
    const byIndex = record(answers)
    return vectors.map((_, at) => byIndex[String(at)])
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function replayModule(verdict: string): string {
  return `package replay

answers[i] := got if {
	some i, v in data.check.vectors
	json.match_schema(v.input, data.check.schemas.input)[0]
	json.match_schema(v.want, data.check.schemas.verdict)[0]
	got := ${verdict} with input as v.input
}
`
}

/** The smallest host there is (ABI 1.2), without one builtin: a module that needs more is not fit to ship. */
export function instantiate(wasm: Uint8Array, data: string): (input: unknown) => unknown {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 1024 })
  const bytes = (): Buffer => Buffer.from(memory.buffer)
  const text = (at: number): string => bytes().toString('utf8', at, bytes().indexOf(0, at))
  const builtin = (id: number): never => {
    throw new BuildError(`the module calls host builtin ${id}; the sidecar offers none`)
  }
  const abort = (at: number): never => {
    throw new BuildError(`the module aborts: ${text(at)}`)
  }
  const host = Object.fromEntries([0, 1, 2, 3, 4].map((arity) => [`opa_builtin${arity}`, builtin]))
  const env = { memory, opa_abort: abort, opa_println: abort, ...host }
  // A copy, because the DOM-less type of the constructor wants a plain ArrayBuffer behind the bytes.
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(wasm)), { env })
  const call = (name: string, ...args: number[]): number => {
    const exported = exports[name]
    if (typeof exported !== 'function') throw new BuildError(`the module does not export ${name}`)
    return Number(exported(...args))
  }
  const put = (json: string): [number, number] => {
    const encoded = Buffer.from(json)
    const at = call('opa_malloc', encoded.length)
    bytes().set(encoded, at)
    return [at, encoded.length]
  }
  const dataAt = call('opa_json_parse', ...put(data))
  const base = call('opa_heap_ptr_get')
  return (input) => {
    call('opa_heap_ptr_set', base)
    const [at, length] = put(JSON.stringify(input))
    const answer = text(call('opa_eval', 0, 0, dataAt, at, length, call('opa_heap_ptr_get'), 0))
    const [first]: unknown[] = JSON.parse(answer)
    return typeof first === 'object' && first !== null && 'result' in first ? first.result : undefined
  }
}
