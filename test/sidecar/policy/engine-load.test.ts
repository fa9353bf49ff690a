// Modules that are refused before they evaluate anything, and what the output sees of any of them.
import { execFileSync } from 'node:child_process'
import { resolve } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { APPLICATION_ENTRYPOINT, engineLimits, prepareBundle } from '../../../sidecar/policy/bundle.ts'
import { loadEngine } from '../../../sidecar/policy/engine.ts'
import { Fault } from '../../../sidecar/ports.ts'
import { hostileBundle, inputFor, invoicesBundle } from './bundles.ts'

const MIB = 1024 * 1024
const LIMITS = engineLimits(64 * MIB)

test.each([
  ['host-builtin', /builtins that do not exist here: .*time\.now_ns/],
  ['print', /builtins that do not exist here: .*internal\.print/],
])('%s is refused when it is loaded: the host offers no builtin', async (name, why) => {
  await expect(prepareBundle(await hostileBundle(name), APPLICATION_ENTRYPOINT, LIMITS)).rejects.toThrow(why)
})

/** `(module (import <from> <name> (func)))`, written by hand. */
function importing(from: string, name: string): Buffer {
  const text = (value: string) => [value.length, ...Buffer.from(value)]
  const section = [1, ...text(from), ...text(name), 0, 0]
  return Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, section.length, ...section])
}

test.each<readonly [what: string, wasm: Uint8Array, why: RegExp]>([
  ['nothing', Buffer.alloc(0), /not a valid WebAssembly module/],
  ['text', Buffer.from('package app'), /not a valid WebAssembly module/],
  ['a module cut off', Buffer.from([0, 0x61, 0x73, 0x6d]), /not a valid WebAssembly module/],
  [
    'a module that wants a system call',
    importing('wasi_snapshot_preview1', 'fd_write'),
    /imports wasi_snapshot_preview1\.fd_write/,
  ],
  ['a module that wants an unknown function', importing('env', 'evil'), /imports env\.evil/],
  ['an empty module', Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), /speaks OPA ABI undefined\.undefined/],
])('%s is no policy', async (_what, wasm, why) => {
  const source = { wasm, data: Buffer.from('{}'), entrypoint: APPLICATION_ENTRYPOINT }
  await expect(loadEngine(source, LIMITS)).rejects.toThrow(why)
  await expect(loadEngine(source, LIMITS)).rejects.toBeInstanceOf(Fault)
})

test.each(['portcullis/entry/nothing', '__proto__', 'constructor', ''])(
  'entrypoint "%s" does not exist',
  async (entrypoint) => {
    const files = await invoicesBundle()
    const source = {
      wasm: files.get('policy.wasm') ?? Buffer.alloc(0),
      data: files.get('data.json') ?? Buffer.alloc(0),
      entrypoint,
    }
    await expect(loadEngine(source, LIMITS)).rejects.toThrow(/has no entrypoint/)
  },
)

let output: string
beforeAll(() => {
  const root = resolve(import.meta.dirname, '../../..')
  const script = `
    import { readBundle } from '${root}/sidecar/feed/bundle-files.ts'
    import { engineLimits, prepareBundle } from '${root}/sidecar/policy/bundle.ts'
    const input = (action) => ${inputFor.toString()}
    for (const name of ['print', 'host-builtin', 'bomb', 'conflict', 'memory', 'undefined', 'wrong-shape', 'allow-all']) {
      try {
        const files = await readBundle('${root}/test/policies/hostile/' + name)
        const module = await prepareBundle(files, '${APPLICATION_ENTRYPOINT}', engineLimits(${4 * MIB}))
        for (const action of ['app:ok', 'app:' + name, 'app:true']) {
          try { module.evaluate(input()(action)) } catch {}
        }
      } catch {}
    }`
  output = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    stdio: 'pipe',
  })
})

test('no policy, however it ends, writes a word to the output', () => {
  expect(output).toBe('')
})
