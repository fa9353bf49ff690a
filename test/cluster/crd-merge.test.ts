import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Api, apiUnavailable, openApi } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { ACCESS_POLICY_ROWS } from '../contracts/crd/rows/access-policy.ts'
import { POLICY_BUNDLE_ROWS } from '../contracts/crd/rows/policy-bundle.ts'
import { REVOCATION_ROWS } from '../contracts/crd/rows/revocation.ts'
import { type Change, objectOf, type Rows } from '../contracts/crd/rows/row.ts'
import { TOKEN_ISSUER_ROWS } from '../contracts/crd/rows/token-issuer.ts'
import { connect, install, type Server } from './crd-server.ts'

// Two field managers apply one object: what is a set or a list by key is merged, what is one thought is not.

const reason = notRun('cluster', 'test/cluster/crd-merge.test.ts', apiUnavailable())

interface Merge {
  readonly name: string
  readonly rows: Rows
  readonly first: Change
  readonly second: Change
  readonly at: string
  readonly merged: unknown
}

const one = { path: 'one.rego', rego: '1' }
const two = { path: 'two.rego', rego: '2' }
const here = { name: 'idp', namespace: '' }
const there = { name: 'idp', namespace: 'identity' }

const MERGES: readonly Merge[] = [
  {
    name: 'revoked kids',
    rows: TOKEN_ISSUER_ROWS,
    first: { revokedKids: ['a', 'b'] },
    second: { revokedKids: ['b', 'c'] },
    at: 'revokedKids',
    merged: ['a', 'b', 'c'],
  },
  {
    name: 'allowed namespaces',
    rows: TOKEN_ISSUER_ROWS,
    first: { allowedNamespaces: ['a'] },
    second: { allowedNamespaces: ['b'] },
    at: 'allowedNamespaces',
    merged: ['a', 'b'],
  },
  {
    name: 'modules of a bundle',
    rows: POLICY_BUNDLE_ROWS,
    first: { 'source.inline.modules': [one] },
    second: { 'source.inline.modules': [two] },
    at: 'source',
    merged: { type: 'Inline', inline: { modules: [one, two] } },
  },
  {
    name: 'issuers of a policy',
    rows: ACCESS_POLICY_ROWS,
    first: { issuers: [{ name: 'idp' }] },
    second: { issuers: [there] },
    at: 'issuers',
    merged: [here, there],
  },
]

describe.skipIf(reason)('server-side apply by two managers', () => {
  let api: Api & AsyncDisposable
  let server: Server

  beforeAll(async () => {
    api = await openApi()
    await install(api)
    server = await connect(api)
  }, 900_000)
  afterAll(() => api?.[Symbol.asyncDispose]())

  test.each(MERGES)('$name are merged', async ({ rows, first, second, at, merged }) => {
    const name = `merge-${at.toLowerCase()}`
    for (const [manager, change] of [
      ['first', first],
      ['second', second],
    ] as const) {
      const answer = await server.apply(rows, objectOf(rows, { name, change }), { manager })
      expect(answer.body.message ?? '').toBe('')
    }
    expect((await server.read(rows, name)).body.spec[at]).toEqual(merged)
  })

  test.each(MERGES)(
    'of $name, what a manager no longer applies goes, and what the other applies stays',
    async (row) => {
      const name = `drop-${row.at.toLowerCase()}`
      for (const [manager, change] of [
        ['first', row.first],
        ['second', row.second],
        ['first', row.second],
      ] as const) {
        await server.apply(row.rows, objectOf(row.rows, { name, change }), { manager })
      }
      const alone = await server.create(
        row.rows,
        objectOf(row.rows, { name: `${name}-alone`, change: row.second }),
      )
      expect(alone.code).toBe(201)
      expect((await server.read(row.rows, name)).body.spec[row.at]).toEqual(alone.body.spec[row.at])
    },
  )

  test('entries of a Revocation are one thought: another manager meets a conflict, and loses none by accident', async () => {
    const name = 'entries'
    const entries = (value: string) => ({ entries: [{ type: 'Jti', value }] })
    await server.apply(REVOCATION_ROWS, objectOf(REVOCATION_ROWS, { name, change: entries('a') }), {
      manager: 'first',
    })
    const answer = await server.apply(
      REVOCATION_ROWS,
      objectOf(REVOCATION_ROWS, { name, change: entries('b') }),
      {
        manager: 'second',
      },
    )
    expect(answer).toMatchObject({ code: 409, body: { details: { causes: [{ field: '.spec.entries' }] } } })
  })
})
