// What this sidecar denies by itself: at once, and whatever the operator says or does not say.
import { describe, expect, test } from 'vitest'
import type { Revocation } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { DenyFact, Revoked } from '../../../sidecar/ports.ts'
import {
  createLocalRevocations,
  denyFirst,
  joinRevocations,
} from '../../../sidecar/trust/local-revocations.ts'
import { createRevocations } from '../../../sidecar/trust/revocations.ts'
import { ISSUER } from '../../fixtures/tokens.ts'
import { SOURCE } from './beliefs.ts'
import { AT, caller, entry, LATER, message, token } from './revocation-world.ts'

const never = new AbortController().signal
const FACT: DenyFact = { issuer: ISSUER, kind: 'sid', value: 's-1', issuedBeforeMs: 0, expiresAtMs: LATER }
const believed = () => new Map([[ISSUER, { source: SOURCE }]])

function open(tell: (entry: Revocation) => Promise<Revoked> = async () => 'stored') {
  const local = createLocalRevocations()
  return { local, deny: denyFirst(local, believed, tell) }
}

test.each<readonly [what: string, tell: () => Promise<Revoked>, outcome: Revoked]>([
  ['stored', async () => 'stored', 'stored'],
  ['refused', async () => 'refused', 'refused'],
  ['not reached', async () => 'unavailable', 'unavailable'],
  [
    'broken',
    async () => {
      throw new Error('broken')
    },
    'unavailable',
  ],
])('it is denied here, whatever comes of it elsewhere: %s', async (_what, tell, outcome) => {
  const { local, deny } = open(tell)
  const { epoch } = local
  const telling = deny(FACT, AT, never)
  expect(local.against(caller(), token('s-1'), AT)).toBe('revoked_sid')
  expect(local.epoch).toBeGreaterThan(epoch)
  expect(await telling).toBe(outcome)
  expect(local.against(caller(), token('s-2'), AT)).toBeUndefined()
})

test('while everything is withheld nobody can tell whose fact it is: it is asked again, not refused for good', async () => {
  const local = createLocalRevocations()
  let trust: ReturnType<typeof believed> | undefined
  const deny = denyFirst(
    local,
    () => trust,
    async () => 'stored',
  )
  expect(await deny(FACT, AT, never)).toBe('unavailable')
  trust = believed()
  expect(await deny(FACT, AT, never)).toBe('stored')
  expect(local.against(caller(), token('s-1'), AT)).toBe('revoked_sid')
})

test('nothing that an operator says takes it away', async () => {
  const { local, deny } = open()
  const fed = createRevocations()
  const both = joinRevocations(fed, local)
  await deny(FACT, AT, never)
  fed.apply(message(0, 5, [entry('a', { $case: 'sub', sub: 'bob' })]))
  expect(both).toMatchObject({ head: 5, size: 2 })
  expect(both.against(caller(), token('s-1'), AT)).toBe('revoked_sid')
  expect(both.against(caller({ subject: 'bob' }), token(), AT)).toBe('revoked_sub')
  fed.apply(message(0, 6, []))
  expect(both.against(caller(), token('s-1'), AT)).toBe('revoked_sid')
})

describe('what is no deny fact is refused, and nobody is told', () => {
  test.each<readonly [what: string, change: Partial<DenyFact>]>([
    ['of an issuer that is not believed', { issuer: 'https://other.example' }],
    ['without a value', { value: '' }],
    ['too long', { value: 's'.repeat(513) }],
    ['without an end', { expiresAtMs: 0 }],
    ['with an end that is no number', { expiresAtMs: Number.NaN }],
  ])('%s', async (_what, change) => {
    let told = 0
    const { local, deny } = open(async () => {
      told++
      return 'stored'
    })
    expect(await deny({ ...FACT, ...change }, AT, never)).toBe('refused')
    expect([told, local.size]).toEqual([0, 0])
  })
})

test('expired facts make room', async () => {
  const { local, deny } = open()
  await deny({ ...FACT, expiresAtMs: AT + 1_000 }, AT, never)
  await deny({ ...FACT, value: 's-2' }, LATER - 1, never)
  expect(local.size).toBe(1)
})
