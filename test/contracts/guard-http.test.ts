import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { ANN, loadInvoice } from './guarded-app.ts'
import { type App, open } from './guarded-frameworks.ts'

describe('node:http', () => {
  async function withRoute(handler: (req: IncomingMessage, res: ServerResponse) => unknown): Promise<App> {
    return open(async ({ guard }) => {
      const read = guard.route({
        action: 'invoice:read',
        load: async (_req, { id }) => loadInvoice(id),
        handler,
      })
      return createServer(guard.http({ 'GET /invoices/:id': read }))
    })
  }

  test('a handler that throws is a 500 without its message, and the application hears of it', async () => {
    await using app = await withRoute(() => {
      throw new Error('handler-secret')
    })
    expect(await app.http.call('/invoices/1')).toMatchObject({ status: 500, body: 'Internal Server Error' })
    expect(app.seen.errors).toEqual(['Error: handler-secret'])
  })

  test('a handler that throws with half its body sent breaks the response off', async () => {
    await using app = await withRoute((_req, res) => {
      res.writeHead(200, { 'content-length': '100' }).write('half')
      throw new Error('too late')
    })
    await expect(app.http.call('/invoices/1')).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  })

  test('a load that answers by itself sends nothing of its own', async () => {
    await using app = await open(async ({ guard }) => {
      const load = async (): Promise<undefined> => undefined
      const read = guard.route({ action: 'a:b', load, handler: () => undefined })
      const listener = guard.http({ 'GET /invoices/:id': read })
      const sneaky = guard.route({
        action: 'a:b',
        load: async (req: IncomingMessage & { res?: ServerResponse }) => void req.res?.end('leak'),
        handler: () => undefined,
      })
      const other = guard.http({ 'GET /invoices/:id': sneaky })
      return createServer((req, res) =>
        req.headers['x-sneaky'] ? other(Object.assign(req, { res }), res) : listener(req, res),
      )
    })
    const reply = await app.http.call('/invoices/1', { headers: [...ANN, 'x-sneaky', '1'] })
    expect(reply).toMatchObject({ status: 404, body: 'Not found.' })
  })

  test.each([
    '/invoices/',
    '/invoices//',
    '/invoices/1/',
    '//invoices/1',
    '/INVOICES/1',
    '/x/../invoices/1',
    '/invoices/%zz',
    '/invoices/1%',
  ])('%s is no declared route', async (path) => {
    await using app = await withRoute((_req, res) => res.end('served'))
    expect(await app.http.call(path)).toMatchObject({ status: 404, body: 'Not found.' })
    expect(app.sidecar.questions).toEqual([])
  })

  test('a method that is not declared is refused like a route that is not', async () => {
    await using app = await withRoute((_req, res) => res.end('served'))
    for (const method of ['POST', 'DELETE', 'OPTIONS', 'HEAD']) {
      expect(await app.http.call('/invoices/1', { method })).toMatchObject({ status: 404 })
    }
  })
})
