import * as sdk from '@open-policy-agent/opa-wasm'
import { Fault } from '../ports.ts'
import { hostImports, refuseForeignImports } from './host.ts'

// The package's types name exports that its ES module does not have; this is what is really there at 1.10.0.
const { LoadedPolicy } = (sdk as unknown as { readonly default: { readonly LoadedPolicy: SdkConstructor } })
  .default
type SdkConstructor = new (
  policy: { instance: WebAssembly.Instance },
  memory: WebAssembly.Memory,
  minor: number,
) => SdkPolicy
interface SdkPolicy {
  readonly dataAddr: number
  readonly dataHeapPtr: number
  setData(data: ArrayBuffer): void
  evaluate(input: object, entrypoint: number): unknown
}

/**
 * One compiled policy module, evaluated through the OPA WebAssembly ABI. The SDK places the data and is the
 * reference evaluator; what a decision touches is ours, because the SDK's own evaluation turns malformed input into undefined
 * input, reads results without a bound, prints to the console and throws strings.
 */
export interface Engine {
  /** Result document as JSON text, without interpretation. Throws Fault; the instance is then never used again. */
  evaluate(inputJson: string): string
  /** The same by the SDK's own evaluator: the oracle of the self-test. */
  evaluateBySdk(input: object): string
  memoryBytes(): number
  discards(): number
}

export interface EngineLimits {
  /** WebAssembly memory beyond what the data needs. */
  readonly memoryBytes: number
  readonly inputBytes: number
  readonly resultBytes: number
}

export interface EngineSource {
  readonly wasm: Uint8Array
  /** A JSON object, already known to be one. */
  readonly data: Uint8Array
  /** Entrypoint such as `portcullis/entry/verdict`, resolved to its number once, here. */
  readonly entrypoint: string
}

const PAGE_BYTES = 64 * 1024
/** Parsed data takes up to 13 times its JSON (measured); memory that grows page by page under a big heap takes seconds. */
const DATA_EXPANSION = 14
const SPARE_PAGES = 16

/** Compiles beside whatever is serving, refuses what it cannot trust, and evaluates nothing yet. Rejects with Fault. */
export async function loadEngine(source: EngineSource, limits: EngineLimits): Promise<Engine> {
  const module = await compile(source.wasm)
  let instance = instantiate(module, source, limits)
  let spent = false
  let busy = false
  let discarded = 0

  const live = (): LiveInstance => {
    if (busy) throw new Fault('internal', 'the policy engine was re-entered')
    if (spent) {
      instance = instantiate(module, source, limits)
      spent = false
    }
    return instance
  }
  const guarded = <T>(use: (live: LiveInstance) => T): T => {
    const current = live()
    busy = true
    try {
      return use(current)
    } catch (cause) {
      // After a trap the module's heap is in an unknown state; a later answer from it could be anything.
      spent = true
      discarded++
      throw cause instanceof Fault ? cause : new Fault('policy_fault', 'the policy trapped', cause)
    } finally {
      busy = false
    }
  }
  return {
    evaluate: (inputJson) => {
      const bytes = Buffer.byteLength(inputJson)
      if (bytes > limits.inputBytes)
        throw new Fault('policy_fault', `policy input larger than ${limits.inputBytes} bytes`)
      return guarded((current) => evaluate(current, inputJson, bytes, limits.resultBytes))
    },
    evaluateBySdk: (input) =>
      guarded((current) => JSON.stringify(current.sdk.evaluate(input, current.entrypoint))),
    memoryBytes: () => instance.memory.buffer.byteLength,
    discards: () => discarded,
  }
}

interface LiveInstance {
  readonly memory: WebAssembly.Memory
  readonly abi: Abi
  readonly sdk: SdkPolicy
  readonly entrypoint: number
  /** View of the memory; replaced when the memory has grown. */
  view: Buffer
}

/** Exports that a decision uses, all of ABI 1.0; addresses are offsets into the memory. */
interface Abi {
  readonly builtins: () => number
  readonly entrypoints: () => number
  readonly eval: (context: number) => number
  readonly opa_eval_ctx_get_result: (context: number) => number
  readonly opa_eval_ctx_new: () => number
  readonly opa_eval_ctx_set_data: (context: number, value: number) => void
  readonly opa_eval_ctx_set_entrypoint: (context: number, entrypoint: number) => void
  readonly opa_eval_ctx_set_input: (context: number, value: number) => void
  readonly opa_heap_ptr_set: (address: number) => void
  readonly opa_json_dump: (value: number) => number
  readonly opa_json_parse: (text: number, length: number) => number
}
const ABI_FUNCTIONS = [
  'builtins',
  'entrypoints',
  'eval',
  'opa_eval_ctx_get_result',
  'opa_eval_ctx_new',
  'opa_eval_ctx_set_data',
  'opa_eval_ctx_set_entrypoint',
  'opa_eval_ctx_set_input',
  'opa_heap_ptr_set',
  'opa_json_dump',
  'opa_json_parse',
] as const satisfies readonly (keyof Abi)[]

// Step by step instead of the one call `opa_eval`: that one goes on with undefined input when the text does not parse.
function evaluate(live: LiveInstance, inputJson: string, bytes: number, resultBytes: number): string {
  const { abi, sdk } = live
  const heap = sdk.dataHeapPtr
  const missing = heap + bytes + PAGE_BYTES - live.memory.buffer.byteLength
  if (missing > 0) live.memory.grow(Math.ceil(missing / PAGE_BYTES))
  refreshView(live)
  live.view.write(inputJson, heap, 'utf8')
  abi.opa_heap_ptr_set(heap + bytes)
  const input = abi.opa_json_parse(heap, bytes)
  if (input === 0) throw new Fault('policy_fault', 'the policy input is not JSON')
  const context = abi.opa_eval_ctx_new()
  abi.opa_eval_ctx_set_input(context, input)
  abi.opa_eval_ctx_set_data(context, sdk.dataAddr)
  abi.opa_eval_ctx_set_entrypoint(context, live.entrypoint)
  abi.eval(context)
  const address = abi.opa_json_dump(abi.opa_eval_ctx_get_result(context))
  refreshView(live)
  return readText(live.view, address, resultBytes)
}

function refreshView(live: LiveInstance): void {
  if (live.view.buffer !== live.memory.buffer) live.view = Buffer.from(live.memory.buffer)
}

async function compile(wasm: Uint8Array): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(Buffer.from(wasm))
  } catch (cause) {
    throw new Fault('policy_fault', 'policy.wasm is not a valid WebAssembly module', cause)
  }
}

function instantiate(module: WebAssembly.Module, source: EngineSource, limits: EngineLimits): LiveInstance {
  const dataPages = Math.ceil((source.data.byteLength * DATA_EXPANSION) / PAGE_BYTES)
  const initial = dataPages + SPARE_PAGES
  const maximum = initial + Math.ceil(limits.memoryBytes / PAGE_BYTES)
  const memory = new WebAssembly.Memory({ initial, maximum })
  const env = hostImports(memory)
  refuseForeignImports(module, env)
  try {
    const instance = new WebAssembly.Instance(module, { env })
    const { minor, abi } = checkAbi(instance)
    refuseBuiltins(abi, memory)
    const entrypoint = entrypointNumber(abi, memory, source.entrypoint)
    const loaded = new LoadedPolicy({ instance }, memory, minor)
    loaded.setData(new Uint8Array(source.data).buffer)
    return { memory, abi, sdk: loaded, entrypoint, view: Buffer.from(memory.buffer) }
  } catch (cause) {
    if (cause instanceof Fault) throw cause
    throw new Fault(
      'policy_fault',
      'policy.wasm does not start, or its data does not fit in its memory',
      cause,
    )
  }
}

function checkAbi(instance: WebAssembly.Instance): { readonly minor: number; readonly abi: Abi } {
  const { exports } = instance
  const major = globalValue(exports['opa_wasm_abi_version'])
  const minor = globalValue(exports['opa_wasm_abi_minor_version'])
  if (major !== 1 || minor === undefined || minor < 2) {
    throw new Fault(
      'policy_fault',
      `policy.wasm speaks OPA ABI ${major}.${minor}; 1.2 or a later 1.x is needed`,
    )
  }
  const absent = ABI_FUNCTIONS.find((name) => typeof exports[name] !== 'function')
  if (absent) throw new Fault('policy_fault', `policy.wasm does not export ${absent}`)
  return { minor, abi: exports as unknown as Abi }
}

function globalValue(exported: unknown): number | undefined {
  const value: unknown = exported instanceof WebAssembly.Global ? exported.value : undefined
  return typeof value === 'number' ? value : undefined
}

function refuseBuiltins(abi: Abi, memory: WebAssembly.Memory): void {
  const wanted = Object.keys(readTable(abi, memory, abi.builtins()))
  if (wanted.length > 0) {
    throw new Fault(
      'policy_fault',
      `the policy uses builtins that do not exist here: ${wanted.slice(0, 8).join(', ')}; build it with policies/capabilities.json`,
    )
  }
}

function entrypointNumber(abi: Abi, memory: WebAssembly.Memory, name: string): number {
  const table = readTable(abi, memory, abi.entrypoints())
  const number = Object.hasOwn(table, name) ? table[name] : undefined
  if (typeof number !== 'number' || !Number.isInteger(number)) {
    throw new Fault(
      'policy_fault',
      `policy.wasm has no entrypoint ${name}; it has ${Object.keys(table).slice(0, 8).join(', ')}`,
    )
  }
  return number
}

function readTable(abi: Abi, memory: WebAssembly.Memory, value: number): Readonly<Record<string, unknown>> {
  const address = abi.opa_json_dump(value)
  const table: unknown = JSON.parse(readText(Buffer.from(memory.buffer), address, PAGE_BYTES))
  return typeof table === 'object' && table !== null ? (table as Record<string, unknown>) : {}
}

function readText(view: Buffer, address: number, limit: number): string {
  const end = view.indexOf(0, address)
  if (address <= 0 || end < 0 || end - address > limit) {
    throw new Fault('policy_fault', `policy result larger than ${limit} bytes`)
  }
  return view.toString('utf8', address, end)
}
