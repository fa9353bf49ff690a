import fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { ANN } from './guarded-app.ts'
import { fastifyApp, NOTHING, open } from './guarded-frameworks.ts'

describe('Fastify', () => {
  test("a declaration beside a handler of one's own is refused, and that handler never runs", async () => {
    await using app = await open(fastifyApp)
    expect(await app.http.call('/smuggled')).toMatchObject({ status: 404 })
    expect(app.handled).toEqual([])
  })

  test('headers that hooks set stay on a refusal', async () => {
    await using app = await open(async ({ guard }) => {
      const instance = fastify()
      instance.addHook(
        'onRequest',
        async (_req, reply) => void reply.header('access-control-allow-origin', '*'),
      )
      await instance.register(guard.fastify())
      const load = async (): Promise<undefined> => undefined
      const handler = async (_req: FastifyRequest, _reply: FastifyReply): Promise<void> => undefined
      instance.get('/x', guard.fastifyRoute(guard.route({ action: 'invoice:read', load, handler })))
      await instance.ready()
      return instance.server
    })
    const reply = await app.http.call('/x')
    expect(reply).toMatchObject({ status: 404, headers: { 'access-control-allow-origin': '*' } })
  })

  test('a route registered before the plugin runs, but sends nothing', async () => {
    await using app = await open(async ({ guard }) => {
      const instance = fastify()
      instance.get('/early', async () => 'leak')
      await instance.register(guard.fastify())
      await instance.ready()
      return instance.server
    })
    expect(await app.http.call('/early')).toMatchObject({ status: 404, body: 'Not found.' })
    expect(app.guard.counts()).toEqual({ ...NOTHING, undeclared: 1 })
  })

  test('a body that cannot be parsed keeps its status, with a generic text', async () => {
    await using app = await open(async ({ guard }) => {
      const instance = fastify()
      await instance.register(guard.fastify())
      const handler = async (_req: FastifyRequest, _reply: FastifyReply): Promise<void> => undefined
      instance.post('/x', guard.fastifyRoute(guard.route({ action: 'a:b', load: () => undefined, handler })))
      await instance.ready()
      return instance.server
    })
    const headers = [...ANN, 'content-type', 'application/json', 'content-length', '5']
    const reply = await app.http.call('/x', { method: 'POST', headers, body: '{"a":' })
    expect(reply).toMatchObject({ status: 400, body: 'Bad Request' })
  })
})
