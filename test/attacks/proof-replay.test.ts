import { describe, expect, test } from 'vitest'
import { ClientKind } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { forgeProof } from '../fixtures/proofs.ts'
import { AT_S, tokenOf } from './arena.ts'
import { BOUND, type Call, openDpopArena } from './dpop-arena.ts'
import { nonceOf, openReplicas, openStore, type Store } from './replicas.ts'

const token = tokenOf(BOUND)
/** One proof on the wire, which whoever saw it can send again. */
const captured = (claims: Readonly<Record<string, unknown>> = {}, at = AT_S): Call => ({
  token,
  proof: [forgeProof({ token, at, claims })],
})
const STRICT = {
  tokens: {
    externalBaseUrl: 'https://api.test.example',
    requirements: {
      ...{ senderConstraints: [], introspect: false, sharedReplay: true, acrValues: [] },
      ...{ maxAuthAgeS: 0, maxTokenAgeS: 0, clientKind: ClientKind.CLIENT_KIND_UNSPECIFIED },
    },
  },
}

describe('attack 54: a proof that is sent again, to a replica that is alone', () => {
  test('attack 54, 003-20: the second time it is refused, for as long as it would be good', async () => {
    const clock = { at: AT_S * 1000 }
    const arena = await openDpopArena({ now: () => clock.at, replica: { now: () => clock.at } })
    const call = captured()
    expect(await arena.verdict(call)).toBe('allow')
    for (clock.at of [AT_S * 1000, AT_S * 1000 + 1, AT_S * 1000 + 59_999, AT_S * 1000 + 60_999])
      expect(await arena.verdict(call)).toBe('dpop_replay')
    clock.at = AT_S * 1000 + 61_000
    expect(await arena.verdict(call)).toBe('dpop_iat_skew')
  })

  test('attack 54: a hundred at once have one winner', async () => {
    const arena = await openDpopArena()
    const call = captured()
    const verdicts = await Promise.all(Array.from({ length: 100 }, () => arena.verdict(call)))
    expect(Map.groupBy(verdicts, (one) => one).get('allow')?.length).toBe(1)
    expect(new Set(verdicts)).toEqual(new Set(['allow', 'dpop_replay']))
  })

  test('attack 54: a restart does not make a used proof good again', async () => {
    const clock = { at: AT_S * 1000 }
    const before = await openDpopArena({ now: () => clock.at })
    const calls = [captured(), captured({}, AT_S + 10)]
    for (const call of calls) expect(await before.verdict(call)).toBe('allow')
    clock.at += 1_000
    const after = await openDpopArena({ now: () => clock.at, replica: { bornAt: clock.at } })
    for (const call of calls) expect(await after.verdict(call)).toBe('dpop_nonce_required')
    clock.at += 10_000
    expect(await after.verdict(captured({}, AT_S + 12))).toBe('allow')
  })
})

describe('attack 54: a proof that is sent again, to another replica', () => {
  test('attack 54: with a store between them it is refused there', async () => {
    const { one, other } = await openReplicas(openStore())
    const call = captured()
    expect([await one.verdict(call), await other.verdict(call), await one.verdict(call)]).toEqual([
      'allow',
      'dpop_replay',
      'dpop_replay',
    ])
  })

  test('attack 54: without a store only proofs with the own nonce are good, so there is no other replica', async () => {
    const { one, other } = await openReplicas(undefined)
    expect(await one.verdict(captured())).toBe('dpop_nonce_required')
    const call = captured({ nonce: await nonceOf(one) })
    expect(await one.verdict(call)).toBe('allow')
    expect(await one.verdict(call)).toBe('dpop_replay')
    expect(await other.verdict(call)).toBe('dpop_nonce_invalid')
  })

  test('attack 54: when the store is lost, callers are asked for the nonce of the one replica they talk to', async () => {
    const store = openStore()
    const { one, other, clock } = await openReplicas(store)
    const early = captured()
    expect(await one.verdict(early)).toBe('allow')
    store.lost = true
    for (const replica of [one, other, one, one])
      expect(await replica.verdict(early)).toBe('dpop_nonce_required')
    const call = captured({ nonce: await nonceOf(one) })
    expect(await one.verdict(call)).toBe('allow')
    expect([await one.verdict(call), await other.verdict(call)]).toEqual([
      'dpop_replay',
      'dpop_nonce_invalid',
    ])
    // While it is known to be lost, nobody waits for it.
    store.hangs = true
    expect(await one.verdict(captured())).toBe('dpop_nonce_required')
    store.hangs = false

    store.lost = false
    // Back, but whoever was given a nonce must still use it.
    expect(await one.verdict(captured())).toBe('dpop_nonce_required')
    clock.monotonic += 30_000
    const late = captured()
    expect([await one.verdict(late), await other.verdict(late)]).toEqual(['allow', 'dpop_replay'])
    expect([await one.verdict(call), await other.verdict(call)]).toEqual([
      'dpop_replay',
      'dpop_nonce_invalid',
    ])
  })

  test('attack 54: a store that only one of them has lost lets nothing through twice', async () => {
    const store = openStore()
    const cut: Store = { ...store, lost: true, spend: store.spend }
    const clock = AT_S * 1000
    const open = (shared: Store) =>
      openDpopArena({ now: () => clock, replica: { alone: false, shared, now: () => 0 } })
    const [connected, severed] = [await open(store), await open(cut)]
    const plain = captured()
    expect([await connected.verdict(plain), await severed.verdict(plain)]).toEqual([
      'allow',
      'dpop_nonce_required',
    ])
    const nonced = captured({ nonce: await nonceOf(severed) })
    expect([
      await severed.verdict(nonced),
      await connected.verdict(nonced),
      await severed.verdict(nonced),
    ]).toEqual(['allow', 'dpop_nonce_invalid', 'dpop_replay'])
  })

  test('attack 54: a proof with a nonce that was used while the store was there is known when it is lost', async () => {
    const store = openStore()
    const { one, other } = await openReplicas(store)
    const call = captured({ nonce: await nonceOf(one) })
    expect(await one.verdict(call)).toBe('allow')
    store.lost = true
    expect([await one.verdict(call), await other.verdict(call)]).toEqual([
      'dpop_replay',
      'dpop_nonce_invalid',
    ])
  })
})

describe('attack 54: a route that demands the store', () => {
  test('attack 54: without one there is no permission, with or without a nonce', async () => {
    const { one } = await openReplicas(undefined, STRICT)
    const { decision } = await one.ask(captured({ nonce: await nonceOf(one) }))
    expect(decision).toMatchObject({ reason: 'replay_store_unavailable' })
    const alone = await openDpopArena(STRICT)
    expect(await alone.verdict(captured())).toBe('replay_store_unavailable')
  })

  test('attack 54: when it is lost the answer is 503, until it is back', async () => {
    const store = openStore()
    const { one, other, clock } = await openReplicas(store, STRICT)
    const call = captured()
    expect([await one.verdict(call), await other.verdict(call)]).toEqual(['allow', 'dpop_replay'])
    store.lost = true
    expect(await one.verdict(captured())).toBe('replay_store_unavailable')
    expect(await one.verdict(captured({ nonce: await nonceOf(one) }))).toBe('replay_store_unavailable')
    store.lost = false
    clock.monotonic += 30_000
    expect(await one.verdict(captured())).toBe('allow')
    const nonced = captured({ nonce: await nonceOf(one) })
    expect([await one.verdict(nonced), await one.verdict(nonced)]).toEqual(['allow', 'dpop_replay'])
  })

  test('attack 54: a token that is bound to nothing needs no store', async () => {
    const { one } = await openReplicas(undefined, STRICT)
    expect(await one.verdict({ token: {}, scheme: 'Bearer', proof: undefined })).toBe('allow')
  })
})
