import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../fixtures/process.ts'
import { question, verdictOf } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import { type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { openAsker, seen, verdictAt } from './asker.ts'
import {
  BUNDLES,
  flipBit,
  type Ground,
  HOSTILE_NAMES,
  openGround,
  replaceFile,
  revisionOf,
} from './ground.ts'
import { counterAt } from './scrape.ts'

// A bundle that is not what it should be changes nothing: told in log, metrics and readyz, while the old one goes on.

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

const good = () => question({ token: forge() })
const OLD = revisionOf(BUNDLES.invoices)

type Damage = (directory: string) => void
const DAMAGES: readonly (readonly [what: string, damage: Damage])[] = [
  ['one bit of the module flipped', (at) => flipBit(join(at, 'policy.wasm'))],
  ['one bit of the data flipped', (at) => flipBit(join(at, 'data.json'))],
  ['one bit of the self-test flipped', (at) => flipBit(join(at, 'selftest.json'))],
  ['one bit of the manifest flipped', (at) => flipBit(join(at, '.manifest'))],
  ['no module', (at) => rmSync(join(at, 'policy.wasm'))],
  ['no manifest', (at) => rmSync(join(at, '.manifest'))],
  ['no self-test', (at) => rmSync(join(at, 'selftest.json'))],
  ['half a module', (at) => truncateSync(join(at, 'policy.wasm'), 10_000)],
  ['an empty module', (at) => truncateSync(join(at, 'policy.wasm'), 0)],
  ['a file nobody vouches for', (at) => writeFileSync(join(at, 'extra.json'), '{}')],
  ['a folder in it', (at) => mkdirSync(join(at, 'more'))],
  ['no file at all', emptied],
  ['a manifest that is a list', (at) => writeFileSync(join(at, '.manifest'), '[]')],
  [
    'data of another bundle',
    (at) => replaceFile(join(at, 'data.json'), readFileSync(join(BUNDLES.invoices, 'data.json'))),
  ],
]

function emptied(directory: string): void {
  for (const name of readdirSync(directory)) rmSync(join(directory, name))
}

const refusals = (sidecar: Sidecar) => sidecar.events.filter(({ event }) => event === 'bundle_refused')

// `spoil` puts a bad bundle in place. It is refused, for a reason, told three ways, and the old one answers.
async function expectRefused(sidecar: Sidecar, spoil: () => void): Promise<string> {
  const before = refusals(sidecar).length
  spoil()
  sidecar.reload()
  await until('the refusal', () => refusals(sidecar).length > before || undefined, { withinMs: 20_000 })
  const problem = String(refusals(sidecar).at(-1)?.['problem'])
  expect(problem).not.toBe('')
  expect(await counterAt(sidecar, 'portcullis_bundle_activations_total', 'result="refused"')).toBeGreaterThan(
    before,
  )
  const { status, text } = await sidecar.admin('/readyz')
  expect(status).toBe(200)
  const body: unknown = JSON.parse(text)
  expect(body).toMatchObject({
    ready: true,
    policyRevision: OLD,
    remarks: [expect.stringContaining(problem)],
  })
  using asker = openAsker(sidecar.unix)
  const response = await asker.ask(good())
  expect([verdictOf(response), response.policyRevision]).toEqual(['allow', OLD])
  expect(sidecar.noise).toEqual([])
  return problem
}

describe('a damaged bundle is refused, with the reason, and the old one goes on', () => {
  let shared: Ground
  let sidecar: Sidecar
  beforeAll(async () => {
    shared = openGround()
    sidecar = await startSidecar({ config: shared.config() })
  })
  afterAll(async () => {
    await sidecar.kill()
    shared[Symbol.dispose]()
  })

  test.each(DAMAGES)('%s', async (_what, damage) => {
    await expectRefused(sidecar, () => shared.policy.use(shared.policy.copy(BUNDLES.edited, damage)))
  })

  test('a link that leads nowhere', async () => {
    await expectRefused(sidecar, () => shared.policy.use(join(shared.directory, 'nowhere')))
  })

  test('and the good one that follows is taken, with the remark gone', async () => {
    shared.policy.use(BUNDLES.edited)
    const revision = revisionOf(BUNDLES.edited)
    const taken = async () => (await sidecar.admin('/readyz')).text.includes(revision) || undefined
    await until('the edited policy', taken, { withinMs: 20_000 })
    expect(JSON.parse((await sidecar.admin('/readyz')).text)).toMatchObject({ remarks: [] })
  })
})

describe('a hostile bundle', () => {
  test.each(HOSTILE_NAMES)('%s is refused or opens nothing: no tenant border, no crash', async (name) => {
    await using sidecar = await startSidecar({ config: ground.config() })
    ground.policy.use(join(BUNDLES.hostile, name))
    sidecar.reload()
    const settled = () =>
      refusals(sidecar)[0] ?? sidecar.events.filter(({ event }) => event === 'bundle_activated')[1]
    await until('a verdict on the bundle', settled, { withinMs: 30_000 })
    using raw = openRaw(sidecar.unix)
    const foreign = { token: forge({ claims: { tenant: 'globex', sub: 'mallory' } }) }
    const unscoped = { token: forge({ claims: { scope: 'other:thing' } }) }
    const stranger = { token: forge({ claims: { sub: 'bob' } }), action: 'invoice:edit' }
    for (const asked of [foreign, unscoped, stranger, {}]) {
      expect(await verdictAt(raw, question(asked))).not.toBe('allow')
    }
    expect(sidecar.noise).toEqual([])
  })
})

describe('an archive', () => {
  const pack = (bundle: string) => execFileSync('tar', ['--format=ustar', '-czf', '-', '-C', bundle, '.'])
  const archive = () => join(ground.directory, 'bundle.tar.gz')
  const config = () => ground.config({ policy: { path: archive() } })

  test('of a bundle is as good as its directory, and swapped the same way', async () => {
    writeFileSync(archive(), pack(BUNDLES.invoices))
    await using sidecar = await startSidecar({ config: config() })
    using asker = openAsker(sidecar.unix)
    expect((await asker.ask(good())).policyRevision).toBe(OLD)
    replaceFile(archive(), pack(BUNDLES.edited))
    sidecar.reload()
    const swapped = async () =>
      (await asker.ask(good())).policyRevision === revisionOf(BUNDLES.edited) || undefined
    await until('the edited policy', swapped, { withinMs: 20_000 })
  })

  test.each<readonly [string, () => Buffer]>([
    ['cut in half', () => pack(BUNDLES.edited).subarray(0, 20_000)],
    ['cut by one byte', () => pack(BUNDLES.edited).subarray(0, -1)],
    ['of nothing', () => Buffer.alloc(0)],
    ['that is no gzip', () => Buffer.from('PK\u0003\u0004 not gzip at all')],
    ['of 100 MB of zeros', () => gzipSync(Buffer.alloc(100_000_000))],
    ['whose tar ends in the middle', () => gzipSync(Buffer.alloc(700, 0x61))],
  ])('%s is refused, and the old one goes on', async (_what, content) => {
    writeFileSync(archive(), pack(BUNDLES.invoices))
    await using sidecar = await startSidecar({ config: config() })
    expect(await expectRefused(sidecar, () => replaceFile(archive(), content()))).toContain(archive())
  })
})

describe('a sidecar started with a broken bundle', () => {
  test.each<readonly [string, Damage]>([
    ['a flipped bit', (at) => flipBit(join(at, 'policy.wasm'))],
    ['no file at all', emptied],
  ])(
    '(%s) is not ready, denies with not_ready, and recovers by itself once it is mended',
    async (_what, damage) => {
      ground.policy.use(ground.policy.copy(BUNDLES.invoices, damage))
      await using sidecar = await startSidecar({ config: ground.config(), wait: 'listening' })
      await sidecar.event('bundle_refused')
      using asker = openAsker(sidecar.unix)
      const readyz = await sidecar.admin('/readyz')
      expect(readyz.status).toBe(503)
      expect(JSON.parse(readyz.text)).toMatchObject({
        ready: false,
        causes: [expect.stringMatching(/^policy: /)],
      })
      expect((await sidecar.admin('/livez')).status).toBe(200)
      expect(seen(await asker.ask(good()))).toEqual({ verdict: 'not_ready', status: 503, challenge: '' })
      ground.policy.use(BUNDLES.invoices)
      const ready = async () => (await sidecar.admin('/readyz')).status === 200 || undefined
      await until('readiness', ready, { withinMs: 20_000 })
      expect(seen(await asker.ask(good())).verdict).toBe('allow')
    },
  )
})
