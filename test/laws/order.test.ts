import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { AT_S, openArena, tokenOf } from '../attacks/arena.ts'
import { signingKey } from '../fixtures/keys.ts'
import { type IssuerPlan, POLICY } from '../fixtures/pipeline.ts'
import { question } from '../fixtures/question.ts'
import { goodClaims, goodHeader, ISSUER } from '../fixtures/tokens.ts'
import { asked, claims, createTally, KEY, PATIENT_MS, PLAN } from './world.ts'

vi.setConfig({ testTimeout: PATIENT_MS })

const policy = await readBundle(POLICY.invoices)
const arena = await openArena({ ...PLAN, policy })
const keys = [KEY, signingKey('Ed25519', 'k2'), signingKey('ES256', 'k3')]
const algorithms = ['Ed25519', 'ES256', 'RS256']
const issuers: readonly IssuerPlan[] = [ISSUER, 'https://two.example', 'https://three.example'].map(
  (issuer) => ({ issuer, keys, algorithms }),
)

function shuffled<T>(list: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...list], { minLength: list.length, maxLength: list.length })
}

test('the order of issuers, of their keys and of their algorithms changes no answer', async () => {
  const plain = await openArena({ policy, issuers })
  await fc.assert(
    fc.asyncProperty(
      shuffled(issuers),
      shuffled(keys),
      shuffled(algorithms),
      async (order, keyOrder, algorithmOrder) => {
        const other = await openArena({
          policy,
          issuers: order.map((issuer) => ({ ...issuer, keys: keyOrder, algorithms: algorithmOrder })),
        })
        for (const { issuer: iss } of [...issuers, { issuer: 'https://four.example' }]) {
          for (const key of [...keys, signingKey('Ed25519', 'stranger')]) {
            const token = tokenOf({ key, claims: { iss } })
            expect(await other.verdict(token)).toBe(await plain.verdict(token))
          }
        }
      },
    ),
    { numRuns: 25 },
  )
})

test('the order of claims, of header members and white space between them change no answer', async () => {
  const tally = createTally()
  const spaces = fc.constantFrom(undefined, 1, 2, '\t', ' \n')
  await fc.assert(
    fc.asyncProperty(claims, asked, fc.infiniteStream(fc.nat()), spaces, async (who, what, dice, space) => {
      const reordered = (members: object) => {
        const entries = Object.entries(members).map((entry) => [Number(dice.next().value), entry] as const)
        return JSON.stringify(
          Object.fromEntries(entries.toSorted(([one], [other]) => one - other).map(([, entry]) => entry)),
          undefined,
          space,
        )
      }
      const all = goodClaims(AT_S, who)
      const plain = tokenOf({ key: KEY, payloadText: JSON.stringify(all) })
      const other = tokenOf({ key: KEY, payloadText: reordered(all), headerText: reordered(goodHeader(KEY)) })
      const verdict = await arena.verdict(plain, what)
      tally.note(verdict)
      expect(await arena.verdict(other, what)).toBe(verdict)
    }),
    { numRuns: 1_000 },
  )
  expect(tally.of('allow')).toBeGreaterThan(50)
  expect(tally.kinds()).toBeGreaterThan(4)
})

test('J18: claims that no rule knows change no answer', async () => {
  const known = [
    'iss',
    'aud',
    'sub',
    'client_id',
    'iat',
    'exp',
    'nbf',
    'jti',
    'tenant',
    'roles',
    'scope',
    'cnf',
    'acr',
    'auth_time',
    'amr',
    'act',
    'authorization_details',
  ]
  const strange = fc.dictionary(
    fc.string({ maxLength: 12 }).filter((name) => !known.includes(name) && !name.includes('\0')),
    fc.jsonValue({ maxDepth: 3 }).filter((value) => !JSON.stringify(value).includes('\\u')),
    { maxKeys: 5 },
  )
  await fc.assert(
    fc.asyncProperty(claims, asked, strange, async (who, what, more) => {
      const all = { ...goodClaims(AT_S, who) }
      const [plain, other] = [all, { ...more, ...all }].map((set) =>
        tokenOf({ key: KEY, payloadText: JSON.stringify(set) }),
      )
      expect(await arena.verdict(other ?? '', what)).toBe(await arena.verdict(plain ?? '', what))
    }),
    { numRuns: 1_000 },
  )
})

test('000-03: headers other than the credential, and their order, change no answer', async () => {
  const tally = createTally()
  const credential = /^(dpop|authorization)$|^[^a-z]*a[^a-z]*u[^a-z]*t[^a-z]*h[^a-z]*o[^a-z]*r/i
  const name = fc.oneof(
    fc.constantFrom(
      'host',
      'cookie',
      'x-forwarded-host',
      'x-user',
      'x-tenant',
      'x-roles',
      'forwarded',
      'proxy-authorization',
      'x-original-url',
    ),
    fc.string({ minLength: 1, maxLength: 20 }).filter((text) => !credential.test(text)),
  )
  const value = fc
    .oneof(fc.constantFrom('globex', 'alice', 'admin', 'Bearer x'), fc.string({ maxLength: 30 }))
    .map((text) => Buffer.from(text))
  const lines = fc.array(fc.record({ name, value }), { maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(claims, asked, lines, lines, async (who, what, before, after) => {
      const message = question({ ...what, token: tokenOf({ key: KEY, claims: who }) })
      const plain = await arena.pipeline.reason(message)
      tally.note(plain)
      expect(
        await arena.pipeline.reason({ ...message, headers: [...before, ...message.headers, ...after] }),
      ).toBe(plain)
    }),
    { numRuns: 1_500 },
  )
  expect(tally.of('allow')).toBeGreaterThan(50)
})
