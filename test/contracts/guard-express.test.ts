import { createServer } from 'node:http'
import express, { type Application, json, type Request, type Response, Router } from 'express'
import { describe, expect, test } from 'vitest'
import { createAuthorizerClient } from '../../contracts/client.ts'
import { createGuard, type Guard } from '../../contracts/guard.ts'
import { ANN, acmeOnly, listening, running } from './guarded-app.ts'
import { type App, expressRead, NOTHING, open, PATIENT_MS } from './guarded-frameworks.ts'
import { openSidecar } from './scripted-sidecar.ts'

test('a response that went past the guard shows as served above checked', async () => {
  await using sidecar = await openSidecar(acmeOnly)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const counted: string[] = []
  const guard = createGuard({ client, onCount: (counter) => void counted.push(counter) })
  const app: Application = express()
  app.get('/forgotten', (_req, res) => res.send('served unchecked'))
  app.use(guard.expressFence())
  app.get('/invoices/:id', guard.express(expressRead(guard)))
  const server = createServer(app)
  guard.watch(server)
  await using http = running(await listening(server))
  await http.call('/invoices/1')
  await http.call('/forgotten')
  expect(guard.counts()).toEqual({ ...NOTHING, served: 2, checked: 1 })
  expect(counted).toEqual(['served', 'checked', 'served'])
})

describe('the Express fence', () => {
  async function fenced(build: (app: Application, guard: Guard) => void): Promise<App> {
    return open(async ({ guard }) => {
      const app = express()
      app.set('env', 'test')
      app.use(guard.expressFence())
      build(app, guard)
      return createServer(app)
    })
  }

  test.each<[string, (req: Request, res: Response) => unknown]>([
    ['writeHead and end', (_req, res) => res.writeHead(200, { 'x-leak': 'leak' }).end('leak')],
    ['several writes', (_req, res) => [res.write('leak'), res.write('leak'), res.end('leak')]],
    ['flushHeaders', (_req, res) => [res.setHeader('x-leak', 'leak'), res.flushHeaders(), res.end('leak')]],
    ['early hints', (_req, res) => [res.writeEarlyHints({ link: '</leak>' }), res.end('leak')]],
    [
      'headers set after the fact',
      (_req, res) => [res.write('leak'), res.setHeader('x-leak', 'leak'), res.end()],
    ],
    [
      'a write whose callback is awaited',
      async (_req, res) => {
        await new Promise((resolve) => res.write('leak', resolve))
        res.end('leak')
      },
    ],
    [
      'an error handler of its own',
      (_req, _res) => {
        throw new Error('leak')
      },
    ],
  ])('holds back %s', async (_name, leak) => {
    await using app = await fenced((routes) => routes.get('/leak', leak))
    const reply = await app.http.call('/leak')
    expect(reply.status).toBeGreaterThanOrEqual(400)
    expect(JSON.stringify(reply)).not.toContain('leak')
    expect(app.guard.counts()).toEqual({ ...NOTHING, undeclared: 1 })
  })

  test('keeps the status of a refusal by the framework, with a generic text', async () => {
    await using app = await fenced((routes, guard) => {
      routes.use(json())
      routes.post('/invoices/:id', guard.express(expressRead(guard)))
    })
    const headers = [...ANN, 'content-type', 'application/json', 'content-length', '5']
    const reply = await app.http.call('/invoices/1', { method: 'POST', headers, body: '{"a":' })
    expect(reply).toMatchObject({ status: 400, body: 'Bad Request' })
  })

  test('lets a middleware that wraps the response work for checked requests', async () => {
    await using app = await fenced((routes, guard) => {
      routes.use((_req, res, next) => {
        const end = res.end.bind(res)
        res.end = ((text: string) => end(text.toUpperCase())) as never
        res.setHeader('x-request-id', 'kept')
        next()
      })
      routes.get(
        '/invoices/:id',
        guard.express(expressRead(guard, (res, invoice) => void res.end(invoice.secret))),
      )
    })
    expect(await app.http.call('/invoices/1')).toMatchObject({ status: 200, body: 'ACME-SECRET' })
    expect(await app.http.call('/invoices/2')).toMatchObject({
      status: 404,
      headers: { 'x-request-id': 'kept' },
    })
  })

  test('shows the check the URL the caller asked for, not the one a router left over', async () => {
    await using app = await fenced((routes, guard) => {
      routes.use('/api', Router().get('/invoices/:id', guard.express(expressRead(guard))))
    })
    await app.http.call('/api/invoices/1')
    expect(app.sidecar.questions).toMatchObject([{ url: '/api/invoices/1' }])
  })

  test('leaves what a handler throws after its check to the error handler of the application', async () => {
    await using app = await fenced((routes, guard) => {
      const failing = expressRead(guard, () => {
        throw new Error('after the check')
      })
      routes.get('/invoices/:id', guard.express(failing))
      Reflect.apply(routes.use, routes, [
        (error: Error, _req: Request, res: Response, _next: unknown) => res.status(418).send(error.message),
      ])
    })
    expect(await app.http.call('/invoices/1')).toMatchObject({ status: 418, body: 'after the check' })
    expect(app.guard.counts()).toEqual({ ...NOTHING, served: 1, checked: 1 })
  })
})
