// What a hostile module can do while it runs: cause a denial for itself, and nothing else.
import { expect, test } from 'vitest'
import {
  APPLICATION_ENTRYPOINT,
  type BundleFiles,
  engineLimits,
  prepareBundle,
} from '../../../sidecar/policy/bundle.ts'
import { type Engine, type EngineLimits, loadEngine } from '../../../sidecar/policy/engine.ts'
import { Fault, type PolicyModule } from '../../../sidecar/ports.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline } from '../../fixtures/pipeline.ts'
import { question } from '../../fixtures/question.ts'
import { forge } from '../../fixtures/tokens.ts'
import { hostileBundle, inputFor, invoicesBundle } from './bundles.ts'

const MIB = 1024 * 1024
const LIMITS = engineLimits(64 * MIB)
const KEY = signingKey()

const prepare = (files: BundleFiles, limits = LIMITS) => prepareBundle(files, APPLICATION_ENTRYPOINT, limits)

async function engineOf(name: string, limits: EngineLimits = LIMITS): Promise<Engine> {
  const files = await hostileBundle(name)
  return loadEngine(
    {
      wasm: bytes(files, 'policy.wasm'),
      data: bytes(files, 'data.json'),
      entrypoint: APPLICATION_ENTRYPOINT,
    },
    limits,
  )
}

function bytes(files: BundleFiles, path: string): Uint8Array {
  return files.get(path) ?? Buffer.alloc(0)
}

function faultOf(use: () => unknown): string {
  try {
    use()
    return 'no fault'
  } catch (cause) {
    return cause instanceof Fault ? `${cause.code}: ${cause.message}` : `not a Fault: ${String(cause)}`
  }
}

const TRAPS: readonly (readonly [name: string, why: RegExp])[] = [
  ['bomb', /^policy_fault: policy result larger than 65536 bytes/],
  ['conflict', /^policy_fault: the policy aborted: .*conflict/],
  ['memory', /^policy_fault: /],
]

test.each(TRAPS)('%s traps, its instance is discarded, and the next decision is right', async (name, why) => {
  const module = await prepare(await hostileBundle(name))
  for (const round of [1, 2, 3]) {
    expect(faultOf(() => module.evaluate(inputFor(`app:${name}`)))).toMatch(why)
    expect(module.discards()).toBe(round)
    expect(module.evaluate(inputFor('app:ok'))).toEqual({
      effect: 'allow',
      allow: ['hostile.calm'],
      deny: [],
    })
    expect(module.evaluate(inputFor('app:else')).effect).toBe('deny')
  }
})

test.each([4, 16])('a policy gets at most the %i MiB it was promised beyond its data', async (mib) => {
  const module = await prepare(await hostileBundle('memory'), engineLimits(mib * MIB))
  const atRest = module.memoryBytes()
  expect(faultOf(() => module.evaluate(inputFor('app:memory')))).toMatch(/^policy_fault: /)
  expect(module.memoryBytes()).toBeLessThanOrEqual(atRest + mib * MIB)
  module.evaluate(inputFor('app:ok'))
  expect(module.memoryBytes()).toBeLessThanOrEqual(atRest + MIB)
})

test('memory does not grow with the number of decisions', async () => {
  const module = await prepare(await invoicesBundle())
  for (let i = 0; i < 500; i++) module.evaluate(inputFor('invoice:read'))
  const before = module.memoryBytes()
  for (let i = 0; i < 5_000; i++)
    module.evaluate(inputFor('invoice:read', { token: { i, x: 'x'.repeat(i % 500) } }))
  expect(module.memoryBytes()).toBe(before)
  expect(module.discards()).toBe(0)
})

test('an undefined verdict is policy_undefined, and no reason to discard the instance', async () => {
  const module = await prepare(await hostileBundle('undefined'))
  expect(faultOf(() => module.evaluate(inputFor('app:undefined')))).toMatch(/^policy_undefined: /)
  expect(module.evaluate(inputFor('app:ok')).effect).toBe('allow')
  expect(module.discards()).toBe(0)
})

const SHAPES = [
  'boolean',
  'upper',
  'extra',
  'missing',
  'contradiction',
  'groundless',
  'numbers',
  'object',
  'nullish',
  'reason',
  'entry',
  'true',
  'string',
  'array',
  'null',
  'empty',
]

test.each(SHAPES)('a verdict of the wrong shape "%s" is a fault', async (shape) => {
  const module = await prepare(await hostileBundle('wrong-shape'))
  expect(faultOf(() => module.evaluate(inputFor(`app:${shape}`)))).toMatch(/^policy_fault: the verdict /)
  expect(module.evaluate(inputFor('app:ok')).effect).toBe('allow')
})

test.each([
  ['bomb', 'app:bomb', 'policy_fault'],
  ['conflict', 'app:conflict', 'policy_fault'],
  ['memory', 'app:memory', 'policy_fault'],
  ['undefined', 'app:undefined', 'policy_undefined'],
  ['wrong-shape', 'app:boolean', 'policy_fault'],
  ['wrong-shape', 'app:extra', 'policy_fault'],
  ['wrong-shape', 'app:true', 'policy_fault'],
])(
  '%s asked for %s ends as a denial for %s, and the next question is answered',
  async (name, action, want) => {
    const pipeline = await openPipeline({ issuers: [{ keys: [KEY] }], policy: await hostileBundle(name) })
    const token = forge({ key: KEY, claims: { scope: `${action} app:ok` } })
    expect(await pipeline.reason(question({ token, action }))).toBe(want)
    expect(await pipeline.reason(question({ token, action: 'app:ok' }))).toBe('allow')
  },
)

test('a policy that allows everything opens no tenant, no foreign write and no missing scope: the floor holds', async () => {
  const pipeline = await openPipeline({
    issuers: [{ keys: [KEY] }],
    policy: await hostileBundle('allow-all'),
  })
  const token = forge({ key: KEY, claims: { scope: 'invoice:read invoice:edit' } })
  expect(await pipeline.reason(question({ token }))).toBe('allow')
  expect(await pipeline.reason(question({ token, stored: { tenant: 'globex' } }))).toBe('tenant_mismatch')
  expect(await pipeline.reason(question({ token, action: 'invoice:delete' }))).toBe('insufficient_scope')
})

test.each([
  [-1, 'answered'],
  [0, 'answered'],
  [1, 'policy input larger than 2048 bytes'],
])('an input of the limit %i bytes, counted in bytes and not in letters: %s', async (over, want) => {
  const engine = await engineOf('conflict', { ...LIMITS, inputBytes: 2048 })
  const rest = 2048 + over - Buffer.byteLength(inputFor('app:ok', { token: { x: 'é' } }))
  const input = inputFor('app:ok', { token: { x: `é${'x'.repeat(rest)}` } })
  expect(Buffer.byteLength(input)).toBe(2048 + over)
  const outcome = faultOf(() => engine.evaluate(input))
  expect(outcome === 'no fault' ? 'answered' : outcome).toContain(want)
  expect(engine.discards()).toBe(0)
})

test.each([
  [-1, 'policy_fault: policy result larger than'],
  [0, 'no fault'],
  [1, 'no fault'],
])('a limit of the result’s own size and %i bytes: %s', async (more, want) => {
  const text = (await engineOf('conflict')).evaluate(inputFor('app:ok'))
  const resultBytes = Buffer.byteLength(text) + more
  const engine = await engineOf('conflict', { ...LIMITS, resultBytes })
  expect(faultOf(() => engine.evaluate(inputFor('app:ok')))).toContain(want)
})

// The SDK turns each of these into undefined input and evaluates on.
test.each(['', ' ', '{', 'undefined', '{"action":}', '\0'])(
  'input %j, which is no JSON, is a fault',
  async (input) => {
    const engine = await engineOf('allow-all')
    expect(faultOf(() => engine.evaluate(input))).toMatch(/^policy_fault: /)
    expect(JSON.parse(engine.evaluate(inputFor('app:ok')))).toMatchObject([{ result: { effect: 'allow' } }])
  },
)

test.each([
  '1e999',
  '-0',
  '1E+2',
  '1.0',
  '9'.repeat(400),
  `0.${'1'.repeat(3_000)}`,
  '"\\u0000"',
  '"\\ud83d\\ude00"',
  '"\\/\\b\\f\\n\\r\\t"',
  '"\u2028\u007f\uffff\u{10ffff}"',
  '[ ]',
  '{ }',
  '{"":1}',
  '{"__proto__":1}',
  '{"\\u0061":1}',
  `${'['.repeat(15)}${']'.repeat(15)}`,
  `"${'x'.repeat(100_000)}"`,
  '\t1\r\n',
])('the module reads spelling %# of a claim as JSON.parse does', async (value) => {
  const input = inputFor('app:ok').replace('{"sub":"alice"}', () => `{"x":${value}}`)
  expect(() => JSON.parse(input)).not.toThrow()
  expect((await engineOf('conflict')).evaluate(input)).toContain('hostile.calm')
})

test.each(['null', 'false', '0', '""', '[]', '{}'])('input %s grants nothing', async (input) => {
  const module = await prepare(await invoicesBundle())
  expect(module.evaluate(input).effect).toBe('deny')
})

test('a decision inside a decision is refused, and is no lasting damage', async () => {
  const engine = await engineOf('conflict')
  let inner = ''
  const input = {
    ...JSON.parse(inputFor('app:ok')),
    toJSON: () => {
      inner = faultOf(() => engine.evaluate(inputFor('app:ok')))
      return JSON.parse(inputFor('app:ok'))
    },
  }
  engine.evaluateBySdk(input)
  expect(inner).toBe('internal: the policy engine was re-entered')
  expect(engine.evaluate(inputFor('app:ok'))).toContain('hostile.calm')
})

test('both evaluators say the same', async () => {
  const engine = await engineOf('conflict')
  for (const action of ['app:ok', 'app:else']) {
    const input = inputFor(action)
    expect(JSON.parse(engine.evaluateBySdk(JSON.parse(input)))).toEqual(JSON.parse(engine.evaluate(input)))
  }
})

test('two modules of the same bundle share nothing', async () => {
  const modules: readonly PolicyModule[] = [
    await prepare(await hostileBundle('conflict')),
    await prepare(await hostileBundle('conflict')),
  ]
  const [one, other] = modules
  faultOf(() => one?.evaluate(inputFor('app:conflict')))
  expect(one?.discards()).toBe(1)
  expect(other?.discards()).toBe(0)
})
