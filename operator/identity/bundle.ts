import { createPublicKey } from 'node:crypto'
import { TrustBundle } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { Fault } from '../ports.ts'
import type { Keys } from './keys.ts'
import type { Cabinet, Shelf } from './ports.ts'
import { inBundle, type Use } from './ring.ts'

export const BUNDLE_NAME = 'portcullis-trust-bundle'
const MEMBER = 'bundle'
/** A sequence further ahead than this is no fleet that saw more than we did, but a lie. */
const MAX_JUMP = 1_000_000
const MAX_KEYS = 8

export interface BundleRules {
  readonly trustDomain: string
  readonly refreshHintS: number
}

/** The bundle's content, without a sequence of its own. */
export function bundleOf(all: Readonly<Record<Use, Keys>>, rules: BundleRules): TrustBundle {
  const published = (use: Use) =>
    all[use].ring.keys.filter(inBundle).flatMap(({ id }) => {
      const material = all[use].material.get(id)
      return material ? [{ id, bytes: material.published }] : []
    })
  const [roots, jwt, bundle] = [published('X509CA'), published('JWTSVID'), published('BundleSigning')]
  for (const keys of [roots, jwt, bundle])
    if (keys.length === 0 || keys.length > MAX_KEYS)
      throw new Fault('internal', `a trust bundle cannot hold ${keys.length} keys of one use`)
  return {
    sequence: 0,
    trustDomain: rules.trustDomain,
    x509Roots: roots.map(({ bytes }) => bytes),
    jwtKeys: Buffer.from(JSON.stringify({ keys: jwt.map(({ id, bytes }) => jwkOf(id, bytes)) })),
    bundleKeys: bundle.map(({ id, bytes }) => ({ id, spki: bytes })),
    refreshHintS: rules.refreshHintS,
  }
}

function jwkOf(kid: string, spki: Buffer): object {
  const { kty, crv, x, y } = createPublicKey({ key: spki, format: 'der', type: 'spki' }).export({
    format: 'jwk',
  })
  // JWT-SVID section 6.1: `use` and `kid` are mandatory in a SPIFFE bundle.
  return { kty, crv, x, y, kid, alg: 'ES256', use: 'jwt-svid' }
}

/**
 * Stores the bundle when its content changed, with the next sequence, and returns what is stored now. Compare-and-swap: of two
 * leaders one gets `undefined` and looks again. `floor` is the highest sequence that the fleet has seen: after the state was restored
 * from an older copy the sequence goes on above it.
 */
export async function storeBundle(
  cabinet: Cabinet,
  content: TrustBundle,
  floor: number,
  signal: AbortSignal,
): Promise<TrustBundle | undefined> {
  const shelf = await cabinet.read('ConfigMap', BUNDLE_NAME, signal)
  const held = shelf && decodeBundle(shelf)
  const behind = held !== undefined && floor > held.sequence && floor - held.sequence <= MAX_JUMP
  if (held && !behind && sameContent(held, content)) return held
  const last = Math.max(held?.sequence ?? 0, behind || (!held && floor <= MAX_JUMP) ? floor : 0)
  const next = { ...content, sequence: last + 1 }
  const place = { kind: 'ConfigMap', name: BUNDLE_NAME, version: shelf?.version } as const
  const outcome = await cabinet.write(place, { [MEMBER]: TrustBundle.encode(next).finish() }, signal)
  return outcome === 'stored' ? next : undefined
}

export async function readBundle(cabinet: Cabinet, signal: AbortSignal): Promise<TrustBundle | undefined> {
  const shelf = await cabinet.read('ConfigMap', BUNDLE_NAME, signal)
  return shelf && decodeBundle(shelf)
}

/** The bundle of a ConfigMap. Throws a Fault when it is none. */
export function decodeBundle({ content }: Pick<Shelf, 'content'>): TrustBundle {
  const bytes = content[MEMBER]
  const bundle = bytes && TrustBundle.decode(bytes)
  if (!bundle || bundle.sequence < 1 || bundle.x509Roots.length === 0)
    throw new Fault('internal', `ConfigMap ${BUNDLE_NAME} holds no trust bundle`)
  return bundle
}

function sameContent(a: TrustBundle, b: TrustBundle): boolean {
  const bytes = (bundle: TrustBundle) => Buffer.from(TrustBundle.encode({ ...bundle, sequence: 0 }).finish())
  return bytes(a).equals(bytes(b))
}
