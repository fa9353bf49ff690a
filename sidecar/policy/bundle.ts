import { hash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { Fault, OPTIONAL_MEMBERS, type PolicyModule, type Verdict } from '../ports.ts'
import { type Engine, type EngineLimits, loadEngine } from './engine.ts'
import { parseVerdict } from './verdict.ts'

/** Files of an unpacked OPA bundle, by path. */
export type BundleFiles = ReadonlyMap<string, Uint8Array>

export const BUNDLE_LIMITS = {
  files: 64,
  wasmBytes: 8 * 1024 * 1024,
  dataBytes: 8 * 1024 * 1024,
  manifestBytes: 64 * 1024,
  selftestBytes: 1024 * 1024,
  vectors: 1000,
} as const

export const APPLICATION_ENTRYPOINT = 'portcullis/entry/verdict'
export const FLOOR_ENTRYPOINT = 'portcullis/floor/verdict'

/** Limits of one evaluation; the memory comes on top of what the data needs. */
export function engineLimits(memoryBytes: number): EngineLimits {
  return { memoryBytes, inputBytes: 256 * 1024, resultBytes: 64 * 1024 }
}

/**
 * Prepares a bundle beside the one in use: caps, manifest, module, data, then every self-test vector by our evaluator and by
 * the SDK's, which must agree with each other and with the bundle. Rejects with a Fault that says what to do.
 */
export async function prepareBundle(
  files: BundleFiles,
  entrypoint: string,
  limits: EngineLimits,
): Promise<PolicyModule> {
  if (files.size > BUNDLE_LIMITS.files)
    throw new Fault('policy_fault', `more than ${BUNDLE_LIMITS.files} files`)
  const { revision, digests, reads } = readManifest(required(files, '.manifest', BUNDLE_LIMITS.manifestBytes))
  proveDigests(files, digests)
  const wasm = required(files, 'policy.wasm', BUNDLE_LIMITS.wasmBytes)
  const data = files.has('data.json')
    ? required(files, 'data.json', BUNDLE_LIMITS.dataBytes)
    : Buffer.from('{}')
  if (!isObject(parseJson(data, 'data.json'))) throw new Fault('policy_fault', 'data.json: not a JSON object')
  const vectors = vectorsOf(required(files, 'selftest.json', BUNDLE_LIMITS.selftestBytes))

  const engine = await loadEngine({ wasm, data, entrypoint }, limits)
  for (const vector of vectors) proveVector(engine, vector, reads)
  return createModule(revision, engine, reads)
}

const MEMO_ENTRIES = 256
const MEMO_TEXT_LENGTH = 1024

function createModule(revision: string, engine: Engine, reads: Reads): PolicyModule {
  // A verdict is a pure function of its text, and a policy gives few different ones.
  const memo = new Map<string, Verdict>()
  return {
    revision,
    reads,
    memoryBytes: engine.memoryBytes,
    discards: engine.discards,
    evaluate(inputJson) {
      const text = engine.evaluate(inputJson)
      const known = memo.get(text)
      if (known) return known
      const verdict = parseVerdict(text)
      if (memo.size >= MEMO_ENTRIES) memo.clear()
      if (text.length <= MEMO_TEXT_LENGTH) memo.set(text, verdict)
      return verdict
    },
  }
}

interface Vector {
  readonly name: string
  readonly input: object
  readonly want: unknown
}

function proveVector(engine: Engine, { name, input, want }: Vector, reads: Reads): void {
  const ours = JSON.parse(engine.evaluate(JSON.stringify(input)))
  const theirs = JSON.parse(engine.evaluateBySdk(input))
  if (!isDeepStrictEqual(ours, theirs))
    throw new Fault('policy_fault', `self-test "${name}": two evaluators disagree`)
  const narrow = JSON.parse(engine.evaluate(JSON.stringify(onlyRead(input, reads))))
  if (!isDeepStrictEqual(ours, narrow)) {
    throw new Fault(
      'policy_fault',
      `self-test "${name}": a rule reads what .manifest metadata.reads does not name`,
    )
  }
  parseVerdict(JSON.stringify(ours))
  if (!isDeepStrictEqual(ours, [{ result: want }])) {
    throw new Fault('policy_fault', `self-test "${name}": the verdict is not the one the bundle promises`)
  }
}

function onlyRead(input: object, reads: Reads): object {
  const kept = (path: string): boolean => OPTIONAL_MEMBERS.every((one) => one !== path || reads(one))
  const narrowed = (members: object, prefix: string): object =>
    Object.fromEntries(Object.entries(members).filter(([name]) => kept(`${prefix}${name}`)))
  const outer = narrowed(input, '')
  const subject: unknown = 'subject' in outer ? outer.subject : undefined
  return isObject(subject) ? { ...outer, subject: narrowed(subject, 'subject.') } : outer
}

function vectorsOf(file: Uint8Array): readonly Vector[] {
  const vectors = parseJson(file, 'selftest.json')
  const usable =
    Array.isArray(vectors) &&
    vectors.length > 0 &&
    vectors.length <= BUNDLE_LIMITS.vectors &&
    vectors.every(isVector)
  if (!usable) {
    throw new Fault(
      'policy_fault',
      `selftest.json: needs 1 to ${BUNDLE_LIMITS.vectors} vectors {"name","input","want"}`,
    )
  }
  return vectors
}

function isVector(value: unknown): value is Vector {
  return isObject(value) && typeof value['name'] === 'string' && isObject(value['input']) && 'want' in value
}

interface Manifest {
  readonly revision: string
  /** `sha256:<hex>` of every other file, by path. */
  readonly digests: Readonly<Record<string, unknown>>
  readonly reads: Reads
}
type Reads = PolicyModule['reads']

function readManifest(file: Uint8Array): Manifest {
  const manifest = parseJson(file, '.manifest')
  const { revision, metadata } = isObject(manifest) ? manifest : {}
  if (typeof revision !== 'string' || !/^[\x21-\x7e]{1,128}$/.test(revision)) {
    throw new Fault('policy_fault', '.manifest: "revision" must be 1 to 128 printable characters')
  }
  const digests = isObject(metadata) ? metadata['digests'] : undefined
  if (!isObject(digests))
    throw new Fault(
      'policy_fault',
      '.manifest: "metadata.digests" is missing; build it with policies/build.ts',
    )
  // A bundle that does not say what it reads gets everything.
  const named: unknown = isObject(metadata) ? metadata['reads'] : undefined
  const known = Array.isArray(named) ? new Set<unknown>(named) : undefined
  const reads: Reads = (member) => known?.has(member) ?? true
  return { revision, digests, reads }
}

// In both directions: a file that the manifest does not vouch for could change what the others mean.
function proveDigests(files: BundleFiles, digests: Manifest['digests']): void {
  for (const path of Object.keys(digests)) {
    if (!files.has(path)) throw new Fault('policy_fault', `${path}: named in .manifest but missing`)
  }
  for (const [path, content] of files) {
    if (path === '.manifest') continue
    if (!Object.hasOwn(digests, path))
      throw new Fault('policy_fault', `${path}: not named in .manifest metadata.digests`)
    if (digests[path] !== `sha256:${hash('sha256', content)}`) {
      throw new Fault(
        'policy_fault',
        `${path}: its content is not what .manifest promises; copy or build the bundle again`,
      )
    }
  }
}

function required(files: BundleFiles, path: string, maxBytes: number): Uint8Array {
  const content = files.get(path)
  if (!content) throw new Fault('policy_fault', `${path}: missing; is this the output of policies/build.ts?`)
  if (content.byteLength > maxBytes) throw new Fault('policy_fault', `${path}: larger than ${maxBytes} bytes`)
  return content
}

function parseJson(content: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content))
  } catch {
    throw new Fault('policy_fault', `${path}: not JSON in UTF-8`)
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
