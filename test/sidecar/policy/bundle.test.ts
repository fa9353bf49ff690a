// What a bundle must be before it may decide anything.
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import {
  APPLICATION_ENTRYPOINT,
  BUNDLE_LIMITS,
  type BundleFiles,
  engineLimits,
  FLOOR_ENTRYPOINT,
  prepareBundle,
} from '../../../sidecar/policy/bundle.ts'
import { Fault } from '../../../sidecar/ports.ts'
import { type Changes, changed, inputFor, invoicesBundle, manifestOf, repacked, textOf } from './bundles.ts'

const LIMITS = engineLimits(64 * 1024 * 1024)
let good: BundleFiles

beforeAll(async () => {
  good = await invoicesBundle()
})

async function verdictOn(files: BundleFiles, entrypoint = APPLICATION_ENTRYPOINT): Promise<string> {
  try {
    await prepareBundle(files, entrypoint, LIMITS)
    return 'ok'
  } catch (cause) {
    return cause instanceof Fault ? `${cause.code}: ${cause.message}` : `not a Fault: ${String(cause)}`
  }
}

test('the worked example is a good bundle; its revision is the manifest’s', async () => {
  const module = await prepareBundle(good, APPLICATION_ENTRYPOINT, LIMITS)
  expect(module.revision).toBe(manifestOf(good)['revision'])
  expect(module.discards()).toBe(0)
})

test('a bundle is good for its own entrypoint only', async () => {
  expect(await verdictOn(good, FLOOR_ENTRYPOINT)).toMatch(
    /has no entrypoint portcullis\/floor\/verdict; it has /,
  )
})

test.each(['.manifest', 'policy.wasm', 'data.json', 'selftest.json', 'plan.json'])(
  'without %s it is refused by name',
  async (path) => {
    expect(await verdictOn(changed(good, { [path]: undefined }))).toMatch(
      new RegExp(`^policy_fault: ${path}: .*missing`),
    )
  },
)

test('data may be absent when the manifest does not promise any', async () => {
  const files = repacked(good, { 'data.json': undefined, 'selftest.json': await trueVectors(1) })
  expect(await verdictOn(files)).toBe('ok')
})

test.each<readonly [what: string, changes: Changes, why: RegExp]>([
  [
    'a changed file',
    { 'data.json': '{"settings":{"refund_limit":1000000}}' },
    /^policy_fault: data\.json: its content is not what/,
  ],
  ['a file emptied', { 'plan.json': '' }, /^policy_fault: plan\.json: its content is not what/],
  [
    'a file that nobody vouches for',
    { 'extra.json': '{}' },
    /^policy_fault: extra\.json: not named in \.manifest/,
  ],
  [
    'a file named like an object’s own',
    { constructor: '{}' },
    /^policy_fault: constructor: not named in \.manifest/,
  ],
])('%s is refused', async (_what, changes, why) => {
  expect(await verdictOn(changed(good, changes))).toMatch(why)
})

test('a digest is compared whole: no prefix, other case or other algorithm will do', async () => {
  const { metadata } = manifestOf(good) as { metadata: { digests: Record<string, string> } }
  const digest = String(metadata.digests['plan.json'])
  for (const wrong of [
    '',
    'sha256:',
    digest.slice(0, -1),
    digest.toUpperCase(),
    digest.replace('sha256', 'md5'),
    digest.slice(7),
    7,
    null,
  ]) {
    const manifest = {
      ...manifestOf(good),
      metadata: { digests: { ...metadata.digests, 'plan.json': wrong } },
    }
    const files = changed(good, { '.manifest': JSON.stringify(manifest) })
    expect(await verdictOn(files), String(wrong)).toMatch(/^policy_fault: plan\.json: its content/)
  }
})

test.each<readonly [what: string, manifest: string, why: RegExp]>([
  ['no JSON', '{', /\.manifest: not JSON/],
  ['no object', '[]', /\.manifest: "revision"/],
  ['no revision', '{"metadata":{"digests":{}}}', /\.manifest: "revision" must be/],
  ['an empty revision', '{"revision":""}', /\.manifest: "revision" must be/],
  ['a revision with a line break', '{"revision":"a\\nb"}', /\.manifest: "revision" must be/],
  ['a revision of 129 characters', `{"revision":"${'r'.repeat(129)}"}`, /\.manifest: "revision" must be/],
  ['no metadata', '{"revision":"r"}', /"metadata\.digests" is missing/],
  ['digests in a list', '{"revision":"r","metadata":{"digests":[]}}', /"metadata\.digests" is missing/],
  ['no digest at all', '{"revision":"r","metadata":{"digests":{}}}', /: not named in \.manifest/],
  ['a byte order mark only', '\ufeff', /\.manifest: not JSON/],
  [
    'more than 64 KiB',
    `{"revision":"r"}${' '.repeat(BUNDLE_LIMITS.manifestBytes)}`,
    /\.manifest: larger than 65536 bytes/,
  ],
])('a manifest with %s is refused', async (_what, manifest, why) => {
  expect(await verdictOn(changed(good, { '.manifest': manifest }))).toMatch(why)
})

test.each<readonly [what: string, changes: Changes, why: RegExp]>([
  ['data that is a list', { 'data.json': '[]' }, /data\.json: not a JSON object/],
  ['data that is no JSON', { 'data.json': '{' }, /data\.json: not JSON in UTF-8/],
  [
    'data that is not UTF-8',
    { 'data.json': Buffer.from([0x7b, 0xff, 0x7d]) },
    /data\.json: not JSON in UTF-8/,
  ],
  ['no self-test vector', { 'selftest.json': '[]' }, /selftest\.json: needs 1 to 1000 vectors/],
  ['self-tests that are no list', { 'selftest.json': '{}' }, /selftest\.json: needs/],
  ['a vector without an answer', { 'selftest.json': '[{"name":"x","input":{}}]' }, /selftest\.json: needs/],
  [
    'a vector without a question',
    { 'selftest.json': '[{"name":"x","input":null,"want":{}}]' },
    /selftest\.json: needs/,
  ],
  ['a module that is none', { 'policy.wasm': 'x' }, /policy\.wasm is not a valid/],
  [
    'a module above 8 MiB',
    { 'policy.wasm': Buffer.alloc(BUNDLE_LIMITS.wasmBytes + 1) },
    /policy\.wasm: larger than/,
  ],
  ['data above 8 MiB', { 'data.json': ' '.repeat(BUNDLE_LIMITS.dataBytes + 1) }, /data\.json: larger than/],
  [
    'self-tests above 1 MiB',
    { 'selftest.json': ' '.repeat(BUNDLE_LIMITS.selftestBytes + 1) },
    /selftest\.json: larger than/,
  ],
])('%s is refused, even with right digests', async (_what, changes, why) => {
  expect(await verdictOn(repacked(good, changes))).toMatch(why)
})

test('1000 vectors are tried; 1001 are refused', async () => {
  expect(await verdictOn(repacked(good, { 'selftest.json': await trueVectors(1000) }))).toBe('ok')
  expect(await verdictOn(repacked(good, { 'selftest.json': await trueVectors(1001) }))).toMatch(
    /selftest\.json: needs 1 to 1000/,
  )
})

test('more than 64 files are refused before any is looked at', async () => {
  const many = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`f${index}`, '']))
  expect(await verdictOn(changed(good, many))).toBe('policy_fault: more than 64 files')
})

test.each([
  [{ effect: 'allow', allow: ['invoice.read.owner'], deny: [] }],
  [{ effect: 'deny', allow: ['x'], deny: [] }],
  [{ effect: 'deny', allow: [], deny: [], more: 1 }],
  [{}],
  [true],
  [null],
])('a self-test that promises %j where the policy says no is refused by name', async (want) => {
  const vectors = JSON.stringify([{ name: 'the promise', input: JSON.parse(inputFor('none')), want }])
  expect(await verdictOn(repacked(good, { 'selftest.json': vectors }))).toMatch(
    /^policy_fault: self-test "the promise": the verdict is not the one/,
  )
})

test('every vector counts, not only the first', async () => {
  const vectors: unknown = JSON.parse(textOf(good, 'selftest.json'))
  if (!Array.isArray(vectors)) throw new Error('no vectors')
  const broken = vectors.map((one, index) =>
    index === vectors.length - 1 ? { ...one, want: { effect: 'allow' } } : one,
  )
  expect(await verdictOn(repacked(good, { 'selftest.json': JSON.stringify(broken) }))).toMatch(
    /^policy_fault: self-test "/,
  )
})

const SEED = 41

test.each(['policy.wasm', 'data.json', 'selftest.json', 'plan.json'])(
  'any one bit changed in %s is noticed',
  async (path) => {
    const content = good.get(path) ?? Buffer.alloc(0)
    const places = fc.tuple(fc.nat(content.length - 1), fc.nat(7))
    await fc.assert(
      fc.asyncProperty(places, async ([at, bit]) => {
        expect(await verdictOn(flipped(path, at, bit))).toMatch(
          new RegExp(`^policy_fault: ${path}: its content`),
        )
      }),
      { seed: SEED, numRuns: 200 },
    )
  },
)

// The manifest vouches for the others and nobody for it: what matters is that no bit of it can change a verdict.
test('one bit changed in the manifest is noticed or changes no verdict', async () => {
  const content = good.get('.manifest') ?? Buffer.alloc(0)
  const want = JSON.stringify(
    (await prepareBundle(good, APPLICATION_ENTRYPOINT, LIMITS)).evaluate(inputFor('invoice:read')),
  )
  await fc.assert(
    fc.asyncProperty(fc.nat(content.length - 1), fc.nat(7), async (at, bit) => {
      const files = flipped('.manifest', at, bit)
      const module = await prepareBundle(files, APPLICATION_ENTRYPOINT, LIMITS).catch(
        (cause: unknown) => cause,
      )
      if (module instanceof Error) expect(module).toBeInstanceOf(Fault)
      else
        expect(
          JSON.stringify(
            (await prepareBundle(files, APPLICATION_ENTRYPOINT, LIMITS)).evaluate(inputFor('invoice:read')),
          ),
        ).toBe(want)
    }),
    { seed: SEED, numRuns: 60 },
  )
})

function flipped(path: string, at: number, bit: number): BundleFiles {
  const copy = Buffer.from(good.get(path) ?? '')
  copy[at] = (copy[at] ?? 0) ^ (1 << bit)
  return changed(good, { [path]: copy })
}

async function trueVectors(count: number): Promise<string> {
  const module = await prepareBundle(good, APPLICATION_ENTRYPOINT, LIMITS)
  const vector = { name: 'x', input: JSON.parse(inputFor('none')), want: module.evaluate(inputFor('none')) }
  return JSON.stringify(Array.from({ length: count }, () => vector))
}
