import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CONDITIONS, type Kind } from '../../contracts/crd.ts'
import { type Api, apiUnavailable, openApi } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { ALL_ROWS } from '../contracts/crd/rows/all.ts'
import { changed, objectOf } from '../contracts/crd/rows/row.ts'
import { type Answer, causesOf, connect, install, type Server } from './crd-server.ts'

// The real API server on every row that the runtime parser was put to: structure, CEL, defaults, transitions, status, columns.

const reason = notRun('cluster', 'test/cluster/crd.test.ts', apiUnavailable())

describe.skipIf(reason)('custom resources on a real API server', () => {
  let api: Api & AsyncDisposable
  let server: Server

  beforeAll(async () => {
    api = await openApi()
    await install(api)
    server = await connect(api)
  }, 900_000)
  afterAll(() => api?.[Symbol.asyncDispose]())

  test('every kind is established, its schema structural and its names accepted', async () => {
    const { items } = JSON.parse(await api.kubectl(['get', 'crd', '-o', 'json']))
    expect(items).toHaveLength(ALL_ROWS.length)
    for (const { metadata, status } of items) {
      const seen = status.conditions.map(
        (one: Readonly<Record<string, string>>) => `${one['type']}=${one['status']}`,
      )
      expect([...seen].sort(), metadata.name).toEqual(['Established=True', 'NamesAccepted=True'])
    }
  })

  test('the category lists every kind', async () => {
    const listed = await api.kubectl(['api-resources', '--categories=portcullis', '-o', 'name'])
    expect(listed.trim().split('\n').sort()).toEqual(
      ALL_ROWS.map(({ definition }) => `${definition.resource.plural}.portcullis.dev`).sort(),
    )
  })

  describe.each(ALL_ROWS.map((rows) => [rows.definition.resource.kind, rows] as const))(
    '%s',
    (kind, rows) => {
      test.each(rows.accepted)('accepts $name', async ({ change }) => {
        const answer = await server.create(rows, objectOf(rows, { change }), { dryRun: true })
        expect(answer.body.message ?? '').toBe('')
        expect(answer.code).toBe(201)
        expect(rows.parse(answer.body)).toMatchObject({ ok: true, value: { spec: answer.body.spec } })
      })

      test.each(rows.refused.filter(({ admissionOnly }) => !admissionOnly))(
        'refuses $name, with place and remedy',
        async ({ change, field, says, server: own }) => {
          const answer = await server.create(rows, objectOf(rows, { change }), { dryRun: true })
          expect(answer.code).toBe(422)
          expect(told(answer, field)).toContain(own ?? says)
        },
      )

      // So that the rows stay honest: as soon as CEL can say it, the mark goes.
      test.each(rows.refused.filter(({ admissionOnly }) => admissionOnly))(
        'leaves to the webhook: $name',
        async ({ change }) => {
          expect((await server.create(rows, objectOf(rows, { change }), { dryRun: true })).code).toBe(201)
        },
      )

      test('refuses a member that does not exist', async () => {
        const answer = await server.create(rows, objectOf(rows, { change: { invented: 1 } }), {
          dryRun: true,
        })
        expect(answer).toMatchObject({
          code: 400,
          body: { message: expect.stringContaining('spec.invented') },
        })
      })

      test('fills in the defaults that the parser knows', async () => {
        const answer = await server.create(rows, objectOf(rows), { dryRun: true })
        expect(answer.body.spec).toEqual(rows.defaulted)
      })

      test.runIf(rows.frozen.length > 0).each(rows.frozen)(
        'never becomes $name',
        async ({ from, change, field, says }) => {
          const name = `frozen-${rows.frozen.findIndex((one) => one.change === change)}`
          const { body } = await server.create(
            rows,
            objectOf(rows, { name, ...(from ? { change: from } : {}) }),
          )
          expect(
            (await server.replace(rows, { ...body, metadata: { ...body.metadata, labels: { a: 'b' } } }))
              .code,
          ).toBe(200)
          const now = (await server.read(rows, name)).body
          const answer = await server.replace(rows, { ...now, spec: changed(now.spec, change) })
          expect(answer.code).toBe(422)
          expect(told(answer, field)).toContain(says)
        },
      )

      test('keeps spec and status apart', async () => {
        const { body: created } = await server.create(rows, {
          ...objectOf(rows, { name: 'apart' }),
          status: rows.status,
        })
        expect(created.status).toBeUndefined()
        expect(created.metadata.generation).toBe(1)
        const status = { ...rows.status, observedGeneration: 1, conditions: conditionsOf(kind as Kind) }
        const { code, body } = await server.replace(rows, { ...created, status, spec: {} }, 'status')
        expect(code, JSON.stringify(body)).toBe(200)
        expect(body.status).toEqual(status)
        expect(body.spec).toEqual(created.spec)
        expect(body.metadata.generation).toBe(1)
        expect(rows.parse(body)).toMatchObject({ ok: true, value: { status } })
      })

      test('refuses a status with a member that does not exist or a reason in prose', async () => {
        const { body } = await server.create(rows, objectOf(rows, { name: 'strict' }))
        const invented = await server.replace(rows, { ...body, status: { invented: 1 } }, 'status')
        expect(invented.body.message).toContain('status.invented')
        const [condition] = conditionsOf(kind as Kind)
        const prose = { ...body, status: { conditions: [{ ...condition, reason: 'it is so' }] } }
        expect(told(await server.replace(rows, prose, 'status'), 'status.conditions[0].reason')).toContain(
          'CamelCase',
        )
      })

      test('conditions of two managers stand side by side', async () => {
        await server.create(rows, objectOf(rows, { name: 'conditions' }))
        const [first] = conditionsOf(kind as Kind)
        for (const type of ['Ready', 'Other']) {
          const { apiVersion, metadata } = objectOf(rows, { name: 'conditions' })
          const object = { apiVersion, kind, metadata, status: { conditions: [{ ...first, type }] } }
          const answer = await server.apply(rows, object, { manager: `of-${type}`, subresource: 'status' })
          expect(answer.code).toBe(200)
        }
        const { body } = await server.read(rows, 'conditions')
        expect(typesOf(body)).toEqual(['Other', 'Ready'])
      })

      test('kubectl get shows its columns', async () => {
        const { body } = await server.create(rows, objectOf(rows, { name: 'shown' }))
        await server.replace(
          rows,
          { ...body, status: { ...rows.status, conditions: conditionsOf(kind as Kind) } },
          'status',
        )
        const { shortName, scope } = rows.definition.resource
        const where = scope === 'Namespaced' ? ['-n', 'shop'] : []
        const [head = '', row = ''] = (await api.kubectl(['get', shortName, 'shown', ...where])).split('\n')
        expect(head.split(/\s{2,}/).map((one) => one.trim())).toEqual(rows.columns)
        expect(row).toMatch(/^shown +True +/)
        expect(row).not.toContain('<none>')
      })

      test('kubectl explain tells every field of its spec', async () => {
        const told = await api.kubectl(['explain', `${rows.definition.resource.plural}.spec`])
        for (const field of Object.keys(rows.definition.spec.shape)) expect(told).toContain(field)
      })
    },
  )
})

function told(answer: Answer, field: string): string {
  const there = causesOf(answer).filter(
    (cause) => cause.field === field || cause.field.startsWith(`${field}[`),
  )
  const all = causesOf(answer).map((cause) => `${cause.field}: ${cause.message}`)
  return there.length > 0
    ? there.map(({ message }) => message).join('\n')
    : `nothing at ${field}, but:\n${all.join('\n')}`
}

function typesOf(object: { readonly status: { readonly conditions: readonly { readonly type: string }[] } }) {
  return object.status.conditions.map(({ type }) => type).sort()
}

function conditionsOf(kind: Kind): readonly Readonly<Record<string, unknown>>[] {
  return CONDITIONS[kind].map((type) => ({
    type,
    status: 'True',
    reason: 'AsAsked',
    message: 'for a test',
    lastTransitionTime: '2030-01-31T12:00:00Z',
    observedGeneration: 1,
  }))
}
