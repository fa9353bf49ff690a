// Roots that outlive a container: kept whole, believed only when sound, and never in the way.
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, beforeEach, expect, test } from 'vitest'
import { createAnchorsFile } from '../../../sidecar/identity/anchors-file.ts'
import { createTrustState } from '../../../sidecar/identity/trust.ts'
import { forget, tempDirectory, until } from '../../fixtures/process.ts'
import { type Authority, bundleOf, createAuthority, createJwtSigner, serverCredential } from './authority.ts'
import { TRUST_DOMAIN } from './identity-world.ts'

let stale: Authority
let current: Authority
let next: Authority
let leafPem = ''
beforeAll(async () => {
  stale = await createAuthority(TRUST_DOMAIN)
  current = await createAuthority(TRUST_DOMAIN)
  next = await createAuthority(TRUST_DOMAIN)
  leafPem = (await serverCredential(current, `spiffe://${TRUST_DOMAIN}/x`)).chainPem
})

let directory = ''
beforeEach(() => {
  directory = tempDirectory('anchors')
  return () => forget(directory)
})
const path = () => join(directory, 'anchors.pem')

const SIGNER = createJwtSigner('jwt-1')
const bundle = (sequence: number, authorities: readonly Authority[]) =>
  bundleOf({ trustDomain: TRUST_DOMAIN, sequence, authorities, signers: [SIGNER] })

/** A container of a pod whose environment has the stale root. */
function container(anchorsFile = path()) {
  const trust = createTrustState({ trustDomain: TRUST_DOMAIN, anchors: [stale.root] })
  const reports: string[] = []
  const file = createAnchorsFile({ anchorsFile, trustDomain: TRUST_DOMAIN }, trust, (event) => {
    reports.push(event)
  })
  return { trust, file, reports, roots: () => trust.current().roots.map((root) => Buffer.from(root)) }
}

const head = (sequence: number | string, domain = TRUST_DOMAIN) =>
  `portcullis trust bundle ${sequence} of ${domain}\n`
const keptOf = (sequence: number) =>
  until(
    `bundle ${sequence}`,
    () =>
      (readdirSync(directory).join() === 'anchors.pem' &&
        readFileSync(path(), 'latin1').startsWith(head(sequence))) ||
      undefined,
  )

test('the next container believes what the one before has kept, and not its environment', async () => {
  const first = container()
  await first.file.restore()
  expect(first.roots()).toEqual([stale.root])
  first.trust.offer(bundle(1, [stale, current]))
  first.trust.offer(bundle(2, [current, next]))
  await keptOf(2)
  expect(readdirSync(directory)).toEqual(['anchors.pem'])
  expect(statSync(path()).mode & 0o777).toBe(0o444)

  const second = container()
  await second.file.restore()
  expect(second.roots()).toEqual([current.root, next.root])
  expect([second.trust.current().sequence, second.trust.held()]).toEqual([0, 2])
  expect([first.file.problem(), second.file.problem()]).toEqual(['', ''])
  expect(first.reports).toEqual([])
})

test('a restart is no way back: an older bundle changes nothing, another one of the same number is refused, a newer one is taken', async () => {
  writeFileSync(path(), head(5) + pem(current))
  const { trust, file, roots } = container()
  await file.restore()
  expect(trust.offer(bundle(4, [stale]))).toEqual({ ok: true, news: false })
  expect(trust.offer(bundle(5, [stale]))).toMatchObject({ ok: false })
  expect(roots()).toEqual([current.root])
  expect(trust.offer(bundle(5, [current]))).toEqual({ ok: true, news: true })
  expect(trust.current().jwt.jwks.toString()).toContain('jwt-1')
  expect(trust.offer(bundle(6, [next]))).toEqual({ ok: true, news: true })
  await keptOf(6)
})

test('what is kept never goes before what was taken', async () => {
  writeFileSync(path(), head(9) + pem(current))
  const { trust, file, roots } = container()
  trust.offer(bundle(1, [next]))
  await file.restore()
  expect(roots()).toEqual([next.root])
})

test('without a file the environment is believed, without a word', async () => {
  const { file, roots, reports } = container()
  await file.restore()
  expect(roots()).toEqual([stale.root])
  expect([file.problem(), reports]).toEqual(['', []])
})

const rows: readonly (readonly [what: string, content: () => string, says: RegExp])[] = [
  ['empty', () => '', /is damaged/],
  ['cut off', () => (head(2) + current.rootPem).slice(0, -20), /is damaged/],
  ['of something else', () => 'hello\n', /is damaged/],
  ['without a root', () => head(2), /is damaged/],
  ['without a number', () => head('x') + pem(current), /is damaged/],
  ['with number 0', () => head(0) + pem(current), /is damaged/],
  ['with a number that is none', () => head('9007199254740993') + pem(current), /is damaged/],
  ['with something behind', () => `${head(2) + pem(current)}more\n`, /is damaged/],
  ['with a private key', () => `${head(2) + pem(current)}-----BEGIN PRIVATE KEY-----\nAA==\n`, /is damaged/],
  ['of another trust domain', () => head(2, 'other.example') + pem(current), /another trust domain/],
  ['with a leaf', () => `${head(2)}${pem(current)}${leafPem.trim()}\n`, /not a CA certificate/],
  ['with a certificate that is none', () => head(2) + block('AAAA'), /not a CA certificate/],
  ['with nine roots', () => head(2) + pem(current).repeat(9), /too many/],
  ['larger than it may be', () => head(2) + block('A'.repeat(70_000)), /larger than 65536 bytes/],
]
const pem = ({ rootPem }: Authority) => `${rootPem.trim()}\n`
const block = (base64: string) => `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`

test.each(rows)(
  'a file %s is not believed, the environment is, and the next bundle heals it',
  async (_what, content, says) => {
    writeFileSync(path(), content())
    const { trust, file, roots, reports } = container()
    await file.restore()
    expect(roots()).toEqual([stale.root])
    expect(trust.held()).toBe(0)
    expect(file.problem()).toMatch(says)
    expect(reports).toEqual(['anchors_not_believed'])
    trust.offer(bundle(3, [stale, current]))
    await keptOf(3)
    await until('silence', () => file.problem() === '' || undefined)
  },
)

test.each([
  ['a directory', () => mkdirSync(path()), /EISDIR/],
  [
    'a link',
    () => {
      writeFileSync(join(directory, 'elsewhere'), head(2) + pem(current))
      symlinkSync(join(directory, 'elsewhere'), path())
    },
    /ELOOP/,
  ],
])('%s in its place is not followed', async (_what, make, says) => {
  make()
  const { file, roots } = container()
  await file.restore()
  expect(roots()).toEqual([stale.root])
  expect(file.problem()).toMatch(says)
})

test('a place that cannot be written is only said', async () => {
  const { trust, file, roots } = container(join(directory, 'gone', 'anchors.pem'))
  await file.restore()
  expect(trust.offer(bundle(1, [current]))).toEqual({ ok: true, news: true })
  expect(roots()).toEqual([current.root])
  const problem = await until('a remark', () => file.problem() || undefined)
  expect(problem).toMatch(/bundle 1 are not kept in .*ENOENT.*recreated$/)
})

test('what a container that was killed left half written is in nobody’s way', async () => {
  writeFileSync(`${path()}.next`, head(1), { mode: 0o444 })
  const { trust } = container()
  trust.offer(bundle(1, [current]))
  await keptOf(1)
  expect(readdirSync(directory)).toEqual(['anchors.pem'])
})
