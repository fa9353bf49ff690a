// capabilities.json lists exactly what the compiler turns into WebAssembly: the host is asked for the rest.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { type Opa, openOpa } from '../../policies/opa.ts'
import { member } from '../../policies/recipe.ts'

interface Builtin {
  readonly name: string
  readonly decl: { readonly args?: readonly unknown[]; readonly result?: unknown }
  readonly relation?: boolean
  readonly deprecated?: boolean
}
interface Capabilities {
  readonly builtins: readonly Builtin[]
  readonly features: readonly string[]
}

/** Known to the compiler only, or rewritten by it before code is generated: cannot be called by name. */
const COMPILE_TIME = [
  'internal.print',
  'internal.test_case',
  'print',
  'rego.metadata.chain',
  'rego.metadata.rule',
  'trace',
]
/** Operators that every module uses. */
const ALWAYS = ['assign', 'eq']

test('the capabilities are exactly the builtins compiled natively, and the features are those of Rego v1', () => {
  const opa = openOpa()
  const ours: Capabilities = JSON.parse(
    readFileSync(resolve(import.meta.dirname, '../../policies/capabilities.json'), 'utf8'),
  )
  const all: Capabilities = JSON.parse(opa.run('opa capabilities', ['capabilities', '--current'], '.'))
  const named = [...COMPILE_TIME, ...ALWAYS]
  const callable = all.builtins.filter(({ name, deprecated }) => !deprecated && !named.includes(name))
  const fromHost = compileAndAsk(opa, callable)
  const native = callable.map(({ name }) => name).filter((name) => !fromHost.includes(name))
  expect(ours.builtins.map(({ name }) => name).sort()).toEqual([...ALWAYS, ...native].sort())
  expect(ours.features).toEqual(['keywords_in_refs', 'rego_v1'])
})

/** Compiles one module that calls every builtin, and returns those it wants from its host. */
function compileAndAsk(opa: Opa, builtins: readonly Builtin[]): string[] {
  const place = mkdtempSync(join(tmpdir(), 'portcullis-builtins-'))
  try {
    writeFileSync(join(place, 'probe.rego'), `package probe\n\n${builtins.map(callOf).join('\n')}\n`)
    opa.run('opa build', ['build', '-t', 'wasm', '-e', 'probe/found', '-b', '.', '-o', 'wasm.tar.gz'], place)
    return hostBuiltins(member(readFileSync(join(place, 'wasm.tar.gz')), 'policy.wasm'))
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function callOf({ name, decl, relation }: Builtin, at: number): string {
  const args = (decl.args ?? []).map((_, position) => `input.a${at}_${position}`)
  return relation
    ? `found contains v if ${name}(${[...args, 'v']})`
    : `found contains v if v := ${name}(${args})`
}

function hostBuiltins(wasm: Uint8Array): string[] {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 1024 })
  const stub = (): number => 0
  const names = ['opa_abort', 'opa_println', ...[0, 1, 2, 3, 4].map((arity) => `opa_builtin${arity}`)]
  const env = { memory, ...Object.fromEntries(names.map((name) => [name, stub])) }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(wasm)), { env })
  const call = (name: string, ...args: number[]): number => {
    const exported = exports[name]
    if (typeof exported !== 'function') throw new Error(`no export ${name}`)
    return Number(exported(...args))
  }
  const at = call('opa_json_dump', call('builtins'))
  const bytes = Buffer.from(memory.buffer)
  return Object.keys(JSON.parse(bytes.toString('utf8', at, bytes.indexOf(0, at))))
}
