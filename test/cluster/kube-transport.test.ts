import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectValue } from '../../operator/kube/answer.ts'
import { CONFIG_MAPS, NAMESPACES } from '../../operator/kube/resources.ts'
import { openTransport } from '../../operator/kube/transport.ts'
import { create, get, list, patch, remove, replace } from '../../operator/kube/verbs.ts'
import { Fault } from '../../operator/ports.ts'
import { type Api, openApi } from '../cluster-node/api.ts'
import { openFaultProxy, statusBody } from './kube-fault-proxy.ts'
import { createGround, soon } from './kube-ground.ts'

let api: Api & AsyncDisposable
let directory: string
beforeAll(async () => {
  api = await openApi()
  directory = mkdtempSync(join(tmpdir(), 'portcullis-kube-'))
})
afterAll(async () => {
  await api?.[Symbol.asyncDispose]()
  rmSync(directory, { recursive: true, force: true })
})

const namespaces = { resource: NAMESPACES }

async function behindProxy() {
  const admin = await api.user('transport-tests', ['system:masters'])
  const proxy = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
  const ground = createGround()
  const transport = await openTransport({ kind: 'given', server: proxy.url }, ground)
  return {
    proxy,
    ground,
    transport,
    async [Symbol.asyncDispose]() {
      await transport[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

describe('connections', () => {
  test('300 requests one after the other use one or two connections', async () => {
    const ground = createGround()
    await using transport = await openTransport({ kind: 'file', path: api.kubeconfig }, ground)
    for (let asked = 0; asked < 300; asked += 1)
      expect(expectValue(await list(transport, namespaces, soon()), 'list').items.length).toBeGreaterThan(0)
    expect(ground.count('portcullis_kube_connections_total')).toBeLessThanOrEqual(2)
    expect(ground.count('rest_client_requests_total', { code: '200', method: 'GET' })).toBe(300)
  })

  test('another client certificate in the kubeconfig is used from the next reading on', async () => {
    const path = join(directory, 'changing.kubeconfig')
    const clock = { now: 0 }
    const ground = createGround({ monotonic: () => clock.now })
    const nobody = await api.user('nobody-yet')
    cpSync(nobody.kubeconfig, path)
    await using transport = await openTransport({ kind: 'file', path }, ground)
    expect(await list(transport, namespaces, soon())).toMatchObject({ ok: false, refused: { status: 403 } })
    writeFileSync(path, readFileSync(api.kubeconfig))
    utimesSync(path, 1, 1)
    clock.now += 10_001
    expect(await list(transport, namespaces, soon())).toMatchObject({ ok: true })
    expect(ground.count('portcullis_kube_connections_total')).toBe(2)
  })

  test('a pod’s token is read again when the server refuses the old one, and the connections are kept', async () => {
    const mount = join(directory, 'serviceaccount')
    mkdirSync(mount)
    cpSync(api.caFile, join(mount, 'ca.crt'))
    await api.kubectl(['create', 'serviceaccount', 'op', '-n', 'default'])
    await api.kubectl([
      'create',
      'clusterrolebinding',
      'op',
      '--clusterrole=cluster-admin',
      '--serviceaccount=default:op',
    ])
    const token = await api.kubectl(['create', 'token', 'op', '-n', 'default'])
    writeFileSync(join(mount, 'token'), 'stale.stale.stale')
    const { hostname, port } = new URL(api.url)
    const clock = { now: 0 }
    const ground = createGround({ monotonic: () => clock.now })
    await using transport = await openTransport(
      { kind: 'inCluster', host: hostname, port, directory: mount },
      ground,
    )
    expect(await list(transport, namespaces, soon())).toMatchObject({ ok: false, refused: { status: 401 } })
    writeFileSync(join(mount, 'token'), `${token.trim()}\n`)
    clock.now += 1_001
    expect(await list(transport, namespaces, soon())).toMatchObject({ ok: true })
    // One dispatcher; it may open a second connection while the first is still busy with the end of an answer.
    expect(ground.count('portcullis_kube_connections_total')).toBeLessThanOrEqual(2)
  })

  test('a server whose certificate is not of our CA is not talked to', async () => {
    const { hostname, port } = new URL(api.url)
    const mount = join(directory, 'othertrust')
    mkdirSync(mount)
    const other = await openOtherCa()
    writeFileSync(join(mount, 'ca.crt'), other)
    writeFileSync(join(mount, 'token'), 'secret-token')
    const ground = createGround()
    const source = { kind: 'inCluster', host: hostname, port, directory: mount } as const
    await using transport = await openTransport(source, ground)
    const failure = await list(transport, namespaces, soon()).catch((cause: unknown) => cause)
    expect(failure).toBeInstanceOf(Fault)
    expect(String(failure)).toMatch(/SELF_SIGNED|UNABLE_TO_VERIFY|certificate/i)
    expect(String(failure)).not.toContain('secret-token')
    expect(ground.count('rest_client_requests_total', { code: '<error>' })).toBe(1)
  })

  test.each([
    ['no kubeconfig', { kind: 'file', path: '/nonexistent/kubeconfig' }],
    ['no service account', { kind: 'inCluster', host: '127.0.0.1', port: '1', directory: '/nonexistent' }],
    ['nobody there', { kind: 'given', server: 'http://127.0.0.1:9' }],
  ] as const)('%s is a Fault that names it, at the first request', async (_, source) => {
    await using transport = await openTransport(source, createGround())
    const failure = list(transport, namespaces, soon())
    await expect(failure).rejects.toMatchObject({ name: 'Fault', code: 'api' })
    await expect(failure).rejects.toThrow(/nonexistent|ECONNREFUSED|connect/)
  })
})

/** A CA that the API server's certificate is not from: the test's own, of another API server. */
async function openOtherCa(): Promise<string> {
  const admin = await api.user('other')
  return readFileSync(admin.cert, 'utf8')
}

describe('requests', () => {
  const object = (name: string, more: object = {}) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name },
    data: { a: '1' },
    ...more,
  })
  const maps = { resource: CONFIG_MAPS, namespace: 'default' }

  test('create, get, replace, patch and delete, with refusals as values', async () => {
    await using transport = await openTransport({ kind: 'file', path: api.kubeconfig }, createGround())
    const made = expectValue(await create(transport, maps, object('c'), soon()), 'create')
    expect(await create(transport, maps, object('c'), soon())).toMatchObject({
      ok: false,
      refused: { status: 409, reason: 'AlreadyExists' },
    })
    const one = { ...maps, name: 'c' }
    expect(await get(transport, one, soon())).toMatchObject({ ok: true, value: { data: { a: '1' } } })
    const changed = await replace(transport, one, { ...made, data: { a: '2' } }, soon())
    expect(changed).toMatchObject({ ok: true, value: { data: { a: '2' } } })
    expect(await replace(transport, one, { ...made, data: { a: '3' } }, soon())).toMatchObject({
      ok: false,
      refused: { status: 409, reason: 'Conflict' },
    })
    expect(
      await patch(
        transport,
        one,
        { type: 'json', body: [{ op: 'add', path: '/data/b', value: '4' }] },
        soon(),
      ),
    ).toMatchObject({ ok: true, value: { data: { a: '2', b: '4' } } })
    expect(await remove(transport, one, { uid: 'another' }, soon())).toMatchObject({
      ok: false,
      refused: { status: 409 },
    })
    expect(await remove(transport, one, { uid: made.metadata.uid ?? '' }, soon())).toMatchObject({ ok: true })
    const gone = await get(transport, one, soon())
    expect(gone).toMatchObject({ ok: false, refused: { status: 404, reason: 'NotFound' } })
    expect(() => expectValue(gone, 'get c')).toThrow(/get c: 404 NotFound/)
  })

  test('a refusal names its fields', async () => {
    await using transport = await openTransport({ kind: 'file', path: api.kubeconfig }, createGround())
    const answer = await create(transport, maps, object('Not A Name'), soon())
    expect(answer).toMatchObject({
      ok: false,
      refused: { status: 422, reason: 'Invalid', causes: [{ field: 'metadata.name' }] },
    })
  })

  test.each<readonly [string, number, Readonly<Record<string, string>>, number]>([
    ['429 with a time', 429, { 'retry-after': '0' }, 3],
    ['503 with a time', 503, { 'retry-after': '0' }, 3],
    ['503 without one', 503, {}, 1],
    ['500 without one', 500, {}, 1],
    ['409 even with one', 409, { 'retry-after': '0' }, 1],
  ])('%s is tried again, or not, whatever the verb', async (_, status, headers, tries) => {
    await using ground = await behindProxy()
    let left = 2
    ground.proxy.on(() => {
      left -= 1
      return left >= 0 ? { status, headers, body: statusBody(status, 'Test') } : undefined
    })
    const answer = await create(ground.transport, maps, object(`retry-${status}-${tries}`), soon())
    expect(answer.ok).toBe(tries === 3)
    expect(ground.proxy.asked).toHaveLength(tries)
  })

  test('429 without end comes back as a refusal after six tries', async () => {
    await using ground = await behindProxy()
    ground.proxy.on(() => ({
      status: 429,
      headers: { 'retry-after': '0' },
      body: statusBody(429, 'TooMany'),
    }))
    expect(await get(ground.transport, { ...namespaces, name: 'default' }, soon())).toMatchObject({
      ok: false,
      refused: { status: 429 },
    })
    expect(ground.proxy.asked).toHaveLength(6)
  })

  test('the deadline of a request ends its waits too', async () => {
    await using ground = await behindProxy()
    ground.proxy.on(() => ({
      status: 429,
      headers: { 'retry-after': '9' },
      body: statusBody(429, 'TooMany'),
    }))
    const place = { ...namespaces, name: 'default', timeoutMs: 300 }
    await expect(get(ground.transport, place, soon())).rejects.toThrow(/no complete answer in time/)
    // The waits would have been for 9 s each.
    expect(ground.proxy.asked.length).toBeLessThanOrEqual(1)
  })

  test('a caller that leaves gets its own reason, at once', async () => {
    await using ground = await behindProxy()
    ground.proxy.on(() => ({ delayMs: 10_000 }))
    const leave = new AbortController()
    const asking = list(ground.transport, namespaces, leave.signal)
    leave.abort(new Error('left'))
    await expect(asking).rejects.toThrow('left')
  })

  test('an answer beyond its limit is not taken into memory', async () => {
    await using ground = await behindProxy()
    const place = { ...namespaces, maxBytes: 100 }
    await expect(list(ground.transport, place, soon())).rejects.toThrow(/larger than 100 bytes/)
  })

  test.each([
    ['GET', 2],
    ['POST', 1],
  ] as const)('%s on a connection that was just cut is sent %i time(s)', async (method, sent) => {
    await using ground = await behindProxy()
    let cut = true
    ground.proxy.on(() => {
      const now = cut
      cut = false
      return now ? { reset: true } : undefined
    })
    const asking =
      method === 'GET'
        ? list(ground.transport, namespaces, soon())
        : create(ground.transport, maps, object('once'), soon())
    if (sent === 2) expect(await asking).toMatchObject({ ok: true })
    else await expect(asking).rejects.toMatchObject({ code: 'api' })
    expect(ground.proxy.asked).toHaveLength(sent)
  })

  test('no token, and nothing of a request’s content, is in a Fault or a report', async () => {
    const ground = createGround()
    const source = {
      kind: 'given',
      server: 'http://127.0.0.1:9',
      headers: { authorization: 'Bearer very-secret' },
    } as const
    await using transport = await openTransport(source, ground)
    const failure = await create(
      transport,
      maps,
      object('x', { data: { key: 'very-secret' } }),
      soon(),
    ).catch((cause: unknown) => cause)
    expect(failure).toBeInstanceOf(Fault)
    expect(`${String(failure)} ${ground.reports.join()}`).not.toContain('very-secret')
  })
})

describe('streams', () => {
  test('headers that do not come in time are a Fault; a body may take for ever', async () => {
    await using ground = await behindProxy()
    // From now on: nothing is told of what there is already.
    const list = JSON.parse(await api.kubectl(['get', '--raw', '/api/v1/namespaces?limit=1'])) as {
      readonly metadata: { readonly resourceVersion: string }
    }
    const { resourceVersion } = list.metadata
    const query = { watch: 'true', resourceVersion }
    const request = { ...namespaces, method: 'GET', query, timeoutMs: 3_000 } as const
    const opened = await ground.transport.stream(request, soon())
    if (!opened.ok) throw new Error('refused')
    const chunks = opened.value[Symbol.asyncIterator]()
    const waiting = chunks.next()
    const silent = new Promise((resolve) => setTimeout(resolve, 4_000, 'silent'))
    expect(await Promise.race([waiting, silent])).toBe('silent')
    await api.kubectl(['create', 'namespace', 'streamed'])
    expect(String((await waiting).value)).toContain('streamed')
    ground.proxy.on(() => ({ delayMs: 5_000 }))
    await expect(ground.transport.stream({ ...request, timeoutMs: 300 }, soon())).rejects.toMatchObject({
      code: 'api',
    })
  })
})
