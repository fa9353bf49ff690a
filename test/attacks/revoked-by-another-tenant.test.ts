import { describe, expect, test } from 'vitest'
import type { Revocation as Entry } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { recallable } from '../../operator/publish/recall.ts'
import { projectAll } from '../../operator/state/projections.ts'
import { diffRevocations } from '../../operator/state/revocation-diff.ts'
import {
  append,
  EMPTY_LOG,
  entriesSince,
  merge,
  type RevocationLog,
} from '../../operator/state/revocation-log.ts'
import { jwksOf } from '../fixtures/keys.ts'
import { CLIENT, ISSUER } from '../fixtures/tokens.ts'
import { worldOf } from '../operator/publish/stage.ts'
import {
  accessPolicy,
  bundle,
  type Observed,
  put,
  revocation,
  shop,
  tokenIssuer,
} from '../operator/state/objects.ts'
import { fedSnapshot } from '../sidecar/trust/fed-world.ts'
import { AT_S } from './arena.ts'
import { KEY, openFedArena } from './fed.ts'

// Whoever may write in a namespace of his own calls somebody else's provider his, and revokes what it issues: its users, its keys, all of
// it. The operator's part is real from the object to the log, the sidecar's from the log to the verdict.

const AT = AT_S * 1000
const EXPIRES = new Date(AT + 3_600_000).toISOString()
const jwks = { inline: JSON.stringify(jwksOf([KEY])) }
const claims = { jti: 'j-1', sid: 's-1' }

/** `shop` believes the provider; `mallory` has written it down too, and believes it as well. */
function cluster(...more: readonly Observed[]) {
  return shop(
    ['a'],
    put('tokenIssuers', 'shop/idp', tokenIssuer('shop', 'idp', { issuer: ISSUER, jwks })),
    put(
      'tokenIssuers',
      'mallory/idp',
      tokenIssuer('mallory', 'idp', { issuer: ISSUER, jwks, revokedKids: [KEY.kid] }),
    ),
    put('bundles', 'mallory/rules', bundle('r1')),
    put('accessPolicies', 'mallory/own', accessPolicy('mallory', 'own')),
    ...more,
  )
}

/** What is in force once the operator has read these objects. */
function logOf(objects: readonly ReturnType<typeof revocation>[], world = cluster()): RevocationLog {
  const named = (key: string) => world.tokenIssuers.get(key)?.spec.issuer
  const { changes, problems } = diffRevocations(EMPTY_LOG, objects, named, AT)
  expect([...problems]).toEqual([])
  const appended = append(EMPTY_LOG, changes)
  if (!appended.ok) throw new Error(appended.why)
  return appended.log
}

/** A sidecar that believes what the operator has resolved for an AccessPolicy. */
async function sidecarOf(policy: string, world = cluster()) {
  const issuers = projectAll(world).byKey.get(policy)?.snapshot.issuers ?? []
  return openFedArena({ first: fedSnapshot(5, [], { issuers: [...issuers] }) })
}

const told = (log: RevocationLog): readonly Entry[] => entriesSince(log, 0).flatMap(({ entries }) => entries)

const ROWS: readonly (readonly [what: string, entry: object, reason: string])[] = [
  ['this very token', { type: 'Jti', value: 'j-1' }, 'revoked_jti'],
  ['the session', { type: 'Sid', value: 's-1' }, 'revoked_sid'],
  ['the user', { type: 'Subject', value: 'alice' }, 'revoked_sub'],
  ['the client', { type: 'ClientId', value: CLIENT }, 'revoked_client'],
  ['the key', { type: 'Kid', value: KEY.kid }, 'kid_revoked'],
  ['the tenant', { type: 'Tenant', value: 'acme' }, 'revoked_tenant'],
  ['the issuer', { type: 'Issuer', issuedBefore: EXPIRES }, 'revoked_issued_before'],
]

describe.each(ROWS)('%s, revoked', (_what, entry, reason) => {
  const spec = { entries: [entry], expiresAt: EXPIRES }

  test('in a namespace that only says to have the same issuer, is denied to nobody else', async () => {
    const arena = await sidecarOf('shop/front')
    const entries = told(logOf([revocation('mallory', 'r', spec)]))
    expect(entries).toHaveLength(1)
    expect(arena.revoke(...entries)).toMatchObject({ ok: true })
    expect(arena.revocations.size).toBe(1)
    expect(await arena.verdict({ claims })).toBe('allow')
  })

  test('control: in the namespace whose issuer is believed, it is denied', async () => {
    const arena = await sidecarOf('shop/front')
    arena.revoke(...told(logOf([revocation('mallory', 'r', spec), revocation('shop', 'r', spec)])))
    expect(await arena.verdict({ claims })).toBe(reason)
  })
})

test('a kid that another TokenIssuer of the same issuer does not believe is believed here', async () => {
  expect(await (await sidecarOf('shop/front')).verdict({ claims })).toBe('allow')
  expect(await (await sidecarOf('mallory/own')).verdict({ claims })).toBe('kid_revoked')
})

describe('an issuer that a namespace shares', () => {
  const shared = cluster(
    put(
      'tokenIssuers',
      'idm/idp',
      tokenIssuer('idm', 'idp', { issuer: ISSUER, jwks, allowedNamespaces: ['*'] }),
    ),
    put(
      'accessPolicies',
      'shop/front',
      accessPolicy('shop', 'front', { issuers: [{ name: 'idp', namespace: 'idm' }] }),
    ),
  )
  const spec = { entries: [{ type: 'Subject', value: 'alice' }], expiresAt: EXPIRES }
  test.each([
    ['its owner', 'idm', 'revoked_sub'],
    ['a namespace that has one of that name', 'shop', 'allow'],
    ['anybody', 'mallory', 'allow'],
  ])('is revoked by %s: %s, %s', async (_who, namespace, verdict) => {
    const arena = await sidecarOf('shop/front', shared)
    arena.revoke(...told(logOf([revocation(namespace, 'r', spec)], shared)))
    expect(await arena.verdict({ claims })).toBe(verdict)
  })
})

describe('a source that looks like another', () => {
  const alice = { subject: { $case: 'sub', sub: 'alice' } } as const
  test.each([
    ['nothing', { source: '' }],
    ['with a blank', { source: 'shop/idp ' }],
    ['in another case', { source: 'Shop/idp' }],
    ['with a zero', { source: 'shop/idp\u0000' }],
    ['with a path', { source: './shop/idp' }],
    ['the namespace alone', { source: 'shop' }],
    ['that begins earlier', { source: 'shop/id', issuer: `p${ISSUER}` }],
    ['that ends later', { source: `shop/idp${ISSUER[0]}`, issuer: ISSUER.slice(1) }],
    ['that contains the issuer', { source: `shop/idp${ISSUER}`, issuer: ISSUER }],
    ['of the prototype', { source: '__proto__' }],
    ['as long as may be', { source: 'x'.repeat(320) }],
  ])('%s denies nothing', async (_what, change) => {
    const arena = await sidecarOf('shop/front')
    expect(arena.revoke({ ...alice, ...change })).toMatchObject({ ok: true })
    expect(await arena.verdict({ claims })).toBe('allow')
    arena.revoke(alice)
    expect(await arena.verdict({ claims })).toBe('revoked_sub')
  })

  test('longer than may be is refused, and nothing is lost by it', async () => {
    const arena = await sidecarOf('shop/front')
    arena.revoke(alice)
    expect(arena.revoke({ ...alice, source: 'x'.repeat(321) })).toMatchObject({ ok: false })
    expect(await arena.verdict({ claims })).toBe('revoked_sub')
  })
})

describe('a sidecar of another namespace that is asked what the operator forgot', () => {
  const world = worldOf({ cluster: cluster() })
  const [ours] = told(logOf([revocation('shop', 'r', { expiresAt: EXPIRES })]))
  if (!ours) throw new Error('no entry')
  const recalling = (...entries: readonly Entry[]) => ({
    held: undefined,
    revocations: { base: 0, head: 9, entries: [...entries], removed: [] },
  })

  test('has nobody else’s tokens denied', () => {
    const lie = { ...ours, id: 'lie' }
    expect(recallable(world, 'mallory/own', recalling(lie), AT)).toEqual([])
    expect(recallable(world, 'mallory/', recalling(lie), AT)).toEqual([])
    expect(recallable(world, 'shop/front', recalling(lie), AT)).toEqual([lie])
  })

  test('takes nobody else’s revocation away by writing over it', async () => {
    const over: Entry = { ...ours, source: 'mallory/idp', expiresAtMs: ours.expiresAtMs + 1 }
    const entries = recallable(world, 'mallory/own', recalling(over), AT)
    expect(entries).toEqual([over])
    const log = logOf([revocation('shop', 'r', { expiresAt: EXPIRES })])
    const merged = merge(log, [{ head: 9, entries }])
    if (!merged.ok) throw new Error(merged.why)
    expect(merged.log.live.get(ours.id)?.entry).toEqual(ours)
    const arena = await sidecarOf('shop/front')
    arena.revoke(...told(merged.log))
    expect(await arena.verdict({ claims: { jti: 'j1' } })).toBe('revoked_jti')
  })
})
