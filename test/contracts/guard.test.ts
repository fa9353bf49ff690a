import { describe, expect, test } from 'vitest'
import { type AuthorizerClient, createAuthorizerClient } from '../../contracts/client.ts'
import { createGuard } from '../../contracts/guard.ts'
import { deny as sidecarDenial } from '../../sidecar/decision.ts'
import { faceOf } from '../../sidecar/serve/challenge.ts'
import { acmeOnly, listening, running } from './guarded-app.ts'
import { FRAMEWORKS, NOTHING, open, PATIENT_MS, plainApp } from './guarded-frameworks.ts'
import { allow, openSidecar } from './scripted-sidecar.ts'

describe.each(Object.entries(FRAMEWORKS))('%s', (name, make) => {
  test('a permitted caller gets the resource, and it counts as served and checked', async () => {
    await using app = await open(make)
    const reply = await app.http.call('/invoices/1')
    expect([reply.status, reply.body]).toEqual([200, 'acme-secret for ann'])
    expect(app.guard.counts()).toEqual({ ...NOTHING, served: 1, checked: 1 })
  })

  test('the check sees method, original URL and stored facts', async () => {
    await using app = await open(make)
    await app.http.call('/invoices/1?a=b%20c')
    expect(app.sidecar.questions).toMatchObject([
      {
        method: 'GET',
        url: '/invoices/1?a=b%20c',
        action: 'invoice:read',
        resource: { stored: { tenant: 'acme' } },
      },
    ])
  })

  test('both of two Authorization lines arrive at the check', async () => {
    await using app = await open(make)
    const headers = [
      'Authorization',
      'Bearer ann',
      'AUTHORIZATION',
      'Bearer b\xe9b',
      'DPoP',
      'x',
      'Cookie',
      'c',
      'DPoP',
      'y',
    ]
    const reply = await app.http.call('/invoices/1', { headers })
    expect(reply.status).toBe(400)
    expect(
      app.sidecar.questions[0]?.headers.map(({ name: field, value }) => [field, value.toString('latin1')]),
    ).toEqual([
      ['authorization', 'Bearer ann'],
      ['authorization', 'Bearer b\xe9b'],
      ['dpop', 'x'],
      ['dpop', 'y'],
    ])
    expect(app.handled).toEqual([])
  })

  test('P6: the lines that an allowance brings are in the response, and in no other', async () => {
    await using app = await open(make)
    const nonced = await app.http.call('/invoices/1', {
      headers: ['authorization', 'Bearer ann', 'dpop', 'nonced'],
    })
    expect([nonced.status, nonced.body]).toEqual([200, 'acme-secret for ann'])
    expect(nonced.lines.filter((line) => line.startsWith('dpop-nonce:'))).toEqual(['dpop-nonce: v1.next'])
    expect(nonced.headers['cache-control']).toBe('no-store')
    expect((await app.http.call('/invoices/1')).headers['dpop-nonce']).toBeUndefined()
  })

  test('a refusal forwards status, challenges and text verbatim, is not stored, and tells nothing else', async () => {
    await using app = await open(make)
    const reply = await app.http.call('/invoices/1', { headers: [] })
    expect([reply.status, reply.body]).toEqual([401, 'refused 401'])
    expect(reply.lines).toContain('www-authenticate: Bearer error="invalid_token"')
    expect(reply.lines).toContain('www-authenticate: DPoP algs="ES256"')
    expect(reply.headers['cache-control']).toBe('no-store')
    expect(JSON.stringify(reply)).not.toMatch(/token_missing|app\.role|d-2|r-1/)
    expect(app.seen.denials).toEqual(['/invoices/1 sidecar token_missing'])
    expect(app.guard.counts()).toEqual({ ...NOTHING, denied: 1 })
    expect(app.handled).toEqual([])
  })

  test('004-25: what is hidden and what does not exist are the same bytes', async () => {
    await using app = await open(make)
    const [hidden, absent] = [await app.http.call('/invoices/2'), await app.http.call('/invoices/3')]
    expect(hidden.status).toBe(404)
    expect([absent.status, absent.lines, absent.body]).toEqual([hidden.status, hidden.lines, hidden.body])
    expect(app.handled).toEqual([])
  })

  test('a caller with a bad token learns that alone, whether the resource exists or not', async () => {
    await using app = await open(make)
    const headers = ['authorization', 'Bearer mallory']
    const replies = [
      await app.http.call('/invoices/1', { headers }),
      await app.http.call('/invoices/3', { headers }),
    ]
    expect(replies.map(({ status }) => status)).toEqual([401, 401])
    expect(replies[0]?.lines).toEqual(replies[1]?.lines)
  })

  test('nothing is served even if the sidecar allows what was not found', async () => {
    await using app = await open(make, allow)
    expect(await app.http.call('/invoices/3')).toMatchObject({ status: 404, body: 'Not found.' })
    expect(app.handled).toEqual([])
  })

  test('a load that throws is a denial, and its error reaches the application, not the caller', async () => {
    await using app = await open(make)
    const reply = await app.http.call('/invoices/broken')
    expect(reply).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: 'Temporarily unavailable.',
    })
    expect(app.seen.errors).toEqual(['Error: database is down: dsn-secret'])
    expect(app.seen.denials).toEqual(['/invoices/broken load_failed unknown'])
    expect(app.sidecar.questions).toEqual([])
  })

  test('004-08: a route declared nowhere is refused with 404', async () => {
    await using app = await open(make)
    expect(await app.http.call('/nowhere')).toMatchObject({ status: 404, body: 'Not found.' })
    expect(app.guard.counts()).toEqual({ ...NOTHING, undeclared: 1 })
    expect(app.sidecar.questions).toEqual([])
  })

  test('a route that forgot its check sends nothing of its own', async () => {
    await using app = await open(make)
    const reply = await app.http.call('/forgotten')
    expect(reply).toMatchObject({ status: 404, body: 'Not found.' })
    expect(JSON.stringify(reply)).not.toContain('forgotten-secret')
    expect(app.guard.counts()).toEqual({ ...NOTHING, undeclared: 1 })
    if (name === 'Fastify') expect(app.handled).toEqual([])
  })

  test('an open route answers without a check and counts apart', async () => {
    await using app = await open(make)
    expect(await app.http.call('/alive', { headers: [] })).toMatchObject({ status: 200, body: 'alive' })
    expect(app.guard.counts()).toEqual({ ...NOTHING, open: 1 })
    expect(app.sidecar.questions).toEqual([])
  })

  test('with the sidecar gone every guarded route is a denial', async () => {
    await using app = await open(make)
    app.sidecar.kill()
    const client = createAuthorizerClient({ target: app.sidecar.target, deadlineMs: 50 })
    const guard = createGuard({ client })
    const handled: string[] = []
    await using http = running(await listening(await make({ guard, handled })))
    expect(await http.call('/invoices/1')).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    expect([handled, guard.counts()]).toEqual([[], { ...NOTHING, denied: 1 }])
    client.close()
  })
})

/** A stand-in for the client that answers what it likes. */
function impostor(answer: unknown): Pick<AuthorizerClient, 'check'> {
  return { check: async () => (answer instanceof Error ? Promise.reject(answer) : answer) as never }
}

test.each([
  [
    'a look-alike of an allowance',
    { kind: 'allow', principal: { issuer: 'a', subject: 'b' }, decisionId: 'd' },
  ],
  ['true', true],
  ['undefined', undefined],
  ['an exception', new Error('boom')],
])('a client that answers %s opens nothing', async (_name, answer) => {
  const guard = createGuard({ client: impostor(answer) })
  const handled: string[] = []
  await using http = running(await listening(await plainApp({ guard, handled })))
  expect(await http.call('/invoices/1')).toMatchObject({ status: 503 })
  expect(handled).toEqual([])
})

test('a route needs an action, an open route a reason, a table a readable key, and all of them this guard', () => {
  const guard = createGuard({ client: impostor(undefined) })
  const declaration = { load: () => undefined, handler: () => undefined }
  for (const action of ['', 'invoice read', 'invoice:"read"', 'é:read', 'x'.repeat(129)]) {
    expect(() => guard.route({ ...declaration, action })).toThrow(/^action: /)
  }
  expect(() => guard.open({ because: '', handler: () => undefined })).toThrow(/^because: /)
  const route = guard.route({ ...declaration, action: 'invoice:read' })
  expect(() => guard.http({ '/invoices': route })).toThrow(/^route "\/invoices"/)
  expect(() => guard.express({ ...route } as never)).toThrow(/no route of this guard/)
  expect(() => createGuard({ client: impostor(undefined) }).http({ 'GET /': route })).toThrow(
    /no route of this guard/,
  )
})

test('an observer that throws changes no answer', async () => {
  await using sidecar = await openSidecar(acmeOnly)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const fail = (): never => {
    throw new Error('observer')
  }
  const guard = createGuard({ client, onCount: fail, onDenied: fail, onError: fail })
  await using http = running(await listening(await plainApp({ guard, handled: [] })))
  expect(await http.call('/invoices/1')).toMatchObject({ status: 200 })
  expect(await http.call('/invoices/2')).toMatchObject({ status: 404 })
  expect(await http.call('/invoices/broken')).toMatchObject({ status: 503 })
})

test('what the guard and the client say by themselves, they say in the words of the sidecar', async () => {
  await using sidecar = await openSidecar(acmeOnly)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  const guard = createGuard({ client })
  await using http = running(await listening(await plainApp({ guard, handled: [] })))
  const [missing, unavailable] = [await http.call('/nowhere'), await http.call('/invoices/broken')]
  expect([missing.status, missing.body]).toEqual(said('tenant_mismatch'))
  expect([unavailable.status, unavailable.body]).toEqual(said('not_ready'))
})

function said(reason: 'tenant_mismatch' | 'not_ready'): [number, string] {
  const { status, text } = faceOf(sidecarDenial(reason), 'invoice:read')
  return [status, text]
}
