import { generateKeyPairSync, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { verifyX509Svid } from '../../../contracts/spiffe.ts'
import { createAuthority } from '../../../operator/identity/authority.ts'
import { decodeBundle } from '../../../operator/identity/bundle.ts'
import { dueRotations } from '../../../operator/identity/expiry.ts'
import { type KeeperNeeds, keepKeys, readKeys } from '../../../operator/identity/key-keeper.ts'
import type { Keys } from '../../../operator/identity/keys.ts'
import type { Shelf } from '../../../operator/identity/ports.ts'
import { activeOf, type Ring, standbysOf, USES, type Use } from '../../../operator/identity/ring.ts'
import { plan, type Rotation, type Verifiers } from '../../../operator/identity/rotation.ts'
import { type Domain, never, openDomain } from './domain.ts'

const rotation = (change: Partial<Rotation> = {}): Rotation => ({
  uid: 'r1',
  name: 'rotate',
  use: 'JWTSVID',
  action: 'Rotate',
  override: false,
  createdMs: 0,
  ...change,
})
const all = (sequence: number, total = 3): Verifiers => ({ sequence, total, acknowledged: total, lapsed: 0 })

interface World {
  readonly domain: Domain
  readonly rotations: Rotation[]
  readonly done: string[]
  verifiers: Verifiers | undefined
}

async function openWorld(): Promise<World> {
  const world: { verifiers: Verifiers | undefined } & Omit<World, 'domain'> = {
    rotations: [],
    done: [],
    verifiers: undefined,
  }
  const change: Partial<KeeperNeeds> = {
    rotations: () => world.rotations,
    verifiers: () => world.verifiers,
    record: async ({ rotation: { uid }, step }) => {
      world.done.push(step.do)
      if (step.do === 'complete' || step.do === 'fail') {
        const index = world.rotations.findIndex((one) => one.uid === uid)
        if (index >= 0) world.rotations.splice(index, 1)
      }
    },
  }
  return Object.assign(world, { domain: await openDomain(change) })
}

const ringOf = (world: World, use: Use): Ring => world.domain.reading().keys[use].ring
const ids = (world: World) => ({
  active: activeOf(ringOf(world, 'JWTSVID'))?.id,
  standbys: standbysOf(ringOf(world, 'JWTSVID')).map(({ id }) => id),
  bundle: (JSON.parse(world.domain.reading().bundle.jwtKeys.toString()).keys as { kid: string }[]).map(
    ({ kid }) => kid,
  ),
})

describe('a rotation', () => {
  test('goes prepare, publish, activate, retire, complete, and each step waits for its evidence', async () => {
    const world = await openWorld()
    const before = ids(world)
    const first = world.domain.reading().bundle.sequence
    world.rotations.push(rotation())
    await world.domain.keep()
    expect(world.done.filter((step) => step !== 'wait')).toEqual(['prepare', 'publish'])
    expect(world.domain.reading().bundle.sequence).toBe(first + 1)
    expect(ids(world).active).toBe(before.active)
    expect(ids(world).bundle).toHaveLength(3)

    // Evidence for an older bundle, or of all but one, is no evidence.
    for (const lacking of [undefined, all(first), { ...all(first + 1), acknowledged: 2 }]) {
      world.verifiers = lacking
      await world.domain.keep()
      expect(ids(world).active).toBe(before.active)
    }
    world.verifiers = { sequence: first + 1, total: 3, acknowledged: 2, lapsed: 1 }
    await world.domain.keep()
    expect(ids(world).active).toBe(before.standbys[0])
    expect(ids(world).standbys).toHaveLength(1)
    expect(ids(world).bundle).toContain(before.active)

    world.domain.now += 300_000 + 60_000 + 119_000
    await world.domain.keep()
    expect(ids(world).bundle).toContain(before.active)
    world.domain.now += 2_000
    await world.domain.keep()
    expect(ids(world).bundle).not.toContain(before.active)
    expect(ids(world).bundle).toHaveLength(2)
    expect(world.done.at(-1)).toBe('complete')
  })

  test('of the X.509 authority makes a new key, and what the old one signed verifies until it expires', async () => {
    const world = await openWorld()
    const { domain } = world
    const old = domain.svid('/ns/a/sa/b')
    const roots = domain.trust().roots.map((one) => Buffer.from(one).toString('hex'))
    world.rotations.push(rotation({ use: 'X509CA' }))
    world.verifiers = all(99)
    await domain.keep()
    expect(verifyX509Svid(old.chain, domain.trust(), domain.now).ok).toBe(true)
    const fresh = domain.svid('/ns/a/sa/b')
    expect(fresh.chain[1]).not.toEqual(old.chain[1])
    domain.now = old.notAfterMs - 1_000
    await domain.keep()
    expect(verifyX509Svid(old.chain, domain.trust(), domain.now).ok).toBe(true)
    domain.now += 400_000
    await domain.keep()
    expect(world.done.at(-1)).toBe('complete')
    const now = domain.trust().roots.map((one) => Buffer.from(one).toString('hex'))
    expect(now).toHaveLength(2)
    expect(now.filter((one) => !roots.includes(one))).toHaveLength(1)
    expect(verifyX509Svid(old.chain, domain.trust(), old.notAfterMs - 1_000).ok).toBe(false)
  })

  test('goes on without acknowledgements only where that was allowed, and says so', async () => {
    const world = await openWorld()
    const { active } = ids(world)
    world.rotations.push(rotation({ override: true }))
    await world.domain.keep()
    expect(ids(world).active).not.toBe(active)
    const ring = ringOf(world, 'JWTSVID')
    expect(plan(rotation({ uid: 'x', override: true }), { ...ring, keys: [] }, undefined, 0).do).toBe(
      'prepare',
    )
  })
})

describe('a revocation', () => {
  test('of the active key takes one step: the standby signs, the key is out of the bundle, another stands by', async () => {
    const world = await openWorld()
    const before = ids(world)
    world.rotations.push(rotation({ action: 'Revoke', keyId: before.active ?? '' }))
    await world.domain.keep()
    expect(ids(world).active).toBe(before.standbys[0])
    expect(ids(world).bundle).not.toContain(before.active)
    expect(ids(world).standbys).toHaveLength(1)
    expect(world.done).toContain('complete')
    const secret = world.domain.cabinet.shelves.get('Secret/portcullis-jwt-keys')?.content ?? {}
    expect(Object.keys(secret).filter((name) => name.startsWith(before.active ?? '-'))).toEqual([])
  })

  test('overtakes a rotation that waits, and the rotation ends well after it', async () => {
    const world = await openWorld()
    const before = ids(world)
    world.rotations.push(rotation())
    await world.domain.keep()
    world.rotations.push(
      rotation({ uid: 'r2', action: 'Revoke', keyId: before.standbys[0] ?? '', createdMs: 9 }),
    )
    await world.domain.keep()
    expect(ids(world).bundle).not.toContain(before.standbys[0])
    world.verifiers = all(99)
    await world.domain.keep()
    world.domain.now += 3_600_000
    await world.domain.keep()
    expect(world.rotations).toEqual([])
    expect(ids(world).standbys).toHaveLength(1)
  })

  test('of a key that is not there says so', async () => {
    const world = await openWorld()
    world.rotations.push(rotation({ action: 'Revoke', keyId: 'nobody' }))
    await world.domain.keep()
    expect(world.done).toEqual(['fail'])
  })
})

test('a bundle that another leader kept from being stored publishes nothing', async () => {
  const world = await openWorld()
  const { cabinet, needs } = world.domain
  world.rotations.push(rotation())
  cabinet.trouble = (_write, name) => (name === 'portcullis-trust-bundle' ? 'conflict' : 'none')
  expect(await keepKeys(needs, never)).toBe('again')
  const shelf = cabinet.shelves.get('Secret/portcullis-jwt-keys')
  const ring = JSON.parse(Buffer.from(shelf?.content['ring'] ?? []).toString()) as Ring
  const fresh = ring.keys.filter(({ publishedSequence }) => publishedSequence === undefined)
  expect(fresh.map(({ state }) => state)).toEqual(['Published'])
})

test('a key that no stored bundle carries signs nothing', async () => {
  const domain = await openDomain()
  const reading = domain.reading()
  const hidden = (use: Use): Keys => ({
    ...reading.keys[use],
    ring: { use, keys: reading.keys[use].ring.keys.map(({ publishedSequence: _, ...key }) => key) },
  })
  const keys = {
    X509CA: hidden('X509CA'),
    JWTSVID: hidden('JWTSVID'),
    BundleSigning: hidden('BundleSigning'),
  }
  const needs = { monotonic: () => 0, entropy: randomBytes, replica: 'r' }
  const authority = createAuthority({ ...needs, reading: () => ({ ...reading, keys }) })
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const path = '/ns/a/sa/b'
  expect(() => authority.signX509({ path, publicKey, ttlMs: 60_000 }, domain.now)).toThrow(
    /not published yet/,
  )
  expect(() => authority.signBundle(Buffer.alloc(32))).toThrow(/not published yet/)
  const jwt = authority.signJwt({ path, audience: ['a'], ttlMs: 60_000 }, domain.now)
  await expect(jwt).rejects.toThrow(/not published yet/)
})

test('after the state was restored from an older copy, the sequence goes on above what the fleet has seen', async () => {
  let seen = 0
  const domain = await openDomain({ fleetSequence: () => seen })
  seen = 40
  await domain.keep()
  expect(domain.reading().bundle.sequence).toBe(41)
  seen = 5_000_000
  await domain.keep()
  expect(domain.reading().bundle.sequence).toBe(41)
})

test('a key in the last quarter of its life is followed by another, and only once at a time', async () => {
  const { keys } = (await openDomain()).reading()
  const ring = keys.X509CA.ring
  const { id = '', notBeforeMs = 0, notAfterMs = 0 } = activeOf(ring) ?? {}
  const at = notBeforeMs + 0.75 * (notAfterMs - notBeforeMs)
  expect(dueRotations([ring], [], at - 1)).toEqual([])
  expect(dueRotations([ring], [], at)).toEqual([{ use: 'X509CA', name: `due-x509ca-${id.slice(0, 16)}` }])
  expect(dueRotations([ring], [{ use: 'JWTSVID' }], at)).toHaveLength(1)
  expect(dueRotations([ring], [{ use: 'X509CA' }], at)).toEqual([])
})

// Everything that may go wrong at once: the leader dies before or after any write, a second one works on the same keys, the clock
// jumps, acknowledgements are late. What must hold (reference identity 4.2) is looked at after every single write.
type Event =
  | { readonly kind: 'trouble'; readonly write: number; readonly how: 'fail' | 'lose' }
  | { readonly kind: 'two' }
  | { readonly kind: 'clock'; readonly ms: number }
  | { readonly kind: 'ack' }
  | { readonly kind: 'rotate'; readonly use: Use }
  | { readonly kind: 'revoke'; readonly use: Use }

const events: fc.Arbitrary<readonly Event[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('trouble' as const),
      write: fc.integer({ min: 1, max: 6 }),
      how: fc.constantFrom('fail' as const, 'lose' as const),
    }),
    fc.record({ kind: fc.constant('two' as const) }),
    fc.record({ kind: fc.constant('clock' as const), ms: fc.integer({ min: -90_000, max: 4_000_000 }) }),
    fc.record({ kind: fc.constant('ack' as const) }),
    fc.record({ kind: fc.constant('rotate' as const), use: fc.constantFrom(...USES) }),
    fc.record({ kind: fc.constant('revoke' as const), use: fc.constantFrom(...USES) }),
  ),
  { minLength: 4, maxLength: 25 },
)

test('whatever fails and whenever: one key signs and is published, a standby waits, the sequence grows, and all ends well', async () => {
  await fc.assert(
    fc.asyncProperty(events, async (story) => {
      const world = await openWorld()
      const watch = watcher(world)
      for (const event of story) await play(world, event, watch)
      world.domain.cabinet.trouble = () => 'none'
      world.verifiers = all(Number.MAX_SAFE_INTEGER)
      for (let round = 0; round < 40 && world.rotations.length > 0; round += 1) {
        await world.domain.keep()
        watch()
        world.domain.now += 3_600_000
      }
      expect(world.rotations).toEqual([])
      for (const use of USES) expect(standbysOf(ringOf(world, use)).length).toBeGreaterThanOrEqual(1)
    }),
    { numRuns: 40 },
  )
}, 120_000)

let uids = 0
async function play(world: World, event: Event, watch: () => void): Promise<void> {
  const { domain } = world
  const keep = async () => {
    await keepKeys(domain.needs, never).catch(() => undefined)
    watch()
  }
  switch (event.kind) {
    case 'trouble': {
      const at = domain.cabinet.writes + event.write
      domain.cabinet.trouble = (write) => (write === at ? event.how : 'none')
      return keep()
    }
    case 'two':
      await Promise.all([keep(), keep()])
      return
    case 'clock':
      domain.now += event.ms
      return keep()
    case 'ack': {
      const shelf = domain.cabinet.shelves.get('ConfigMap/portcullis-trust-bundle')
      world.verifiers = shelf && all(decodeBundle(shelf).sequence)
      return keep()
    }
    case 'rotate':
    case 'revoke': {
      uids += 1
      const read = await readKeys(domain.cabinet, never)
      const keyId = read && activeOf(read.keys[event.use].ring)?.id
      const action = event.kind === 'revoke' ? ('Revoke' as const) : ('Rotate' as const)
      if (world.rotations.length < 4)
        world.rotations.push(
          rotation({
            uid: `u${uids}`,
            use: event.use,
            action,
            createdMs: uids,
            ...(action === 'Revoke' && keyId ? { keyId } : {}),
          }),
        )
      return keep()
    }
    default:
      return event satisfies never
  }
}

/** Looks at what is stored, compares it with what was stored before. */
function watcher(world: World): () => void {
  let sequence = 0
  let content = ''
  return () => {
    const { shelves } = world.domain.cabinet
    const shelf = shelves.get('ConfigMap/portcullis-trust-bundle')
    if (!shelf) return
    const bundle = decodeBundle(shelf)
    // G5: the sequence never falls, and grows with every change of content.
    expect(bundle.sequence).toBeGreaterThanOrEqual(sequence)
    const now = JSON.stringify([bundle.x509Roots, bundle.jwtKeys, bundle.bundleKeys])
    if (sequence > 0 && now !== content) expect(bundle.sequence).toBeGreaterThan(sequence)
    sequence = bundle.sequence
    content = now
    for (const [name, { content: secret }] of shelves)
      if (name.startsWith('Secret/')) checkRing(secret, bundle)
  }
}

function checkRing(secret: Shelf['content'], bundle: TrustBundle): void {
  const kids = (JSON.parse(bundle.jwtKeys.toString()).keys as { kid: string }[]).map(({ kid }) => kid)
  const published = [...kids, ...bundle.bundleKeys.map(({ id }) => id)]
  const ring = JSON.parse(Buffer.from(secret['ring'] ?? []).toString()) as Ring
  const active = ring.keys.filter(({ state }) => state === 'Active')
  // G4: exactly one signs; a standby is there.
  expect(active).toHaveLength(1)
  expect(ring.keys.some(({ state }) => state === 'Published' || state === 'Prepared')).toBe(true)
  // G1: what may sign (its sequence is recorded) is in the bundle that is stored.
  const signing = active.filter(({ publishedSequence }) => publishedSequence !== undefined)
  for (const { publishedSequence } of signing) expect(publishedSequence).toBeLessThanOrEqual(bundle.sequence)
  if (ring.use !== 'X509CA') expect(published).toEqual(expect.arrayContaining(signing.map(({ id }) => id)))
  else expect(bundle.x509Roots.length).toBeGreaterThanOrEqual(2)
  // A key that ended has no private half left.
  const ended = ring.keys.filter(({ state }) => ['Retiring', 'Retired', 'Revoked'].includes(state))
  for (const { id } of ended) expect(secret[`${id}.key`]).toBeUndefined()
}
