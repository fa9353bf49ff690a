import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { KubeObject } from '../../operator/kube/resource.ts'
import { CONFIG_MAPS, PODS } from '../../operator/kube/resources.ts'
import type { ReflectorRules } from '../../operator/kube/selection.ts'
import { openTransport, type Transport } from '../../operator/kube/transport.ts'
import { create, patch, remove } from '../../operator/kube/verbs.ts'
import { openWatch, type Watched, type WatchOptions } from '../../operator/kube/watch.ts'
import { type Api, openApi } from '../cluster-node/api.ts'
import { type FaultProxy, openFaultProxy, type Stream, statusBody } from './kube-fault-proxy.ts'
import { createGround, eventually, type Ground, soon } from './kube-ground.ts'

// The mirror of a collection, in front of a real kube-apiserver, with everything between them going wrong.

let api: Api & AsyncDisposable
let admin: { readonly cert: string; readonly key: string }
let proxy: FaultProxy
let ground: Ground
let transport: Transport
let namespace = ''
const opened: AsyncDisposable[] = []

beforeAll(async () => {
  api = await openApi()
  admin = await api.user('kube-tests', ['system:masters'])
})
afterAll(() => api?.[Symbol.asyncDispose]())

let made = 0
beforeEach(async () => {
  made += 1
  namespace = `n${made}`
  await api.kubectl(['create', 'namespace', namespace])
  ground = createGround()
  proxy = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
  transport = await openTransport({ kind: 'given', server: proxy.url }, ground)
})
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
  await transport[Symbol.asyncDispose]()
  await proxy[Symbol.asyncDispose]()
})

const FAST: Partial<ReflectorRules> = { backoffMs: [20, 200], stallMs: 90_000 }

async function mirror(
  rules: Partial<ReflectorRules> = {},
  more: Partial<WatchOptions<KubeObject>> = {},
): Promise<Watched<KubeObject> & { readonly news: string[] }> {
  const place = { resource: CONFIG_MAPS, namespace }
  const options = { place, transform: (object: KubeObject) => object, ...more, rules: { ...FAST, ...rules } }
  const watched = await openWatch(transport, options, ground)
  opened.push(watched)
  const news: string[] = []
  watched.subscribe((type, key, object) => news.push(`${type} ${key.split('/')[1]} ${dataOf(object)}`))
  await watched.whenSynced(soon())
  await eventually(() => watched.status().watching)
  return Object.assign(watched, { news })
}

function dataOf(object: KubeObject): string {
  return (object as { data?: { value?: string } }).data?.value ?? ''
}

const place = (name?: string) => ({ resource: CONFIG_MAPS, namespace, ...(name ? { name } : {}) })
async function put(name: string, value = '1'): Promise<KubeObject> {
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } }
  const answer = await create(transport, place(), object, soon())
  if (!answer.ok) throw new Error(answer.refused.message)
  return answer.value
}
const set = (name: string, value: string) =>
  patch(transport, place(name), { type: 'merge', body: { data: { value } } }, soon())
const drop = (name: string) => remove(transport, place(name), {}, soon())

const last = (): Stream => {
  const open = proxy.streams.filter((one) => one.open)
  const found = open.at(-1)
  if (!found) throw new Error('no watch is open')
  return found
}
const lists = () =>
  proxy.asked.filter(
    ({ query, path, method }) => method === 'GET' && path.endsWith('configmaps') && !query.has('watch'),
  ).length
const watches = () => proxy.asked.filter(({ query }) => query.has('watch'))

/** The mirror equals the server again, by the names and values that it holds. */
async function settles(watched: Watched<KubeObject>): Promise<void> {
  const seen = () => Object.fromEntries(watched.store.list().map((one) => [one.metadata.name, dataOf(one)]))
  const said = await api.kubectl(['get', 'configmaps', '-n', namespace, '-o', 'json'])
  const { items } = JSON.parse(said) as { items: KubeObject[] }
  const want = Object.fromEntries(items.map((one) => [one.metadata.name, dataOf(one)]))
  await eventually(() => expect(seen()).toEqual(want))
}

describe('a mirror without trouble', () => {
  test.each([
    ['over the watch', true, 'watchlist'],
    ['by pages', false, 'list'],
  ])('reads what exists %s, then follows every change, in order', async (_, watchList, how) => {
    for (const name of ['a', 'b', 'c']) await put(name)
    const watched = await mirror({ watchList, pageSize: 2 })
    expect(watched.store.size()).toBe(3)
    expect(ground.count('portcullis_kube_lists_total', { how })).toBe(1)
    expect(lists()).toBe(watchList ? 0 : 2)
    watched.news.length = 0
    await put('d')
    await set('d', '2')
    await drop('a')
    await eventually(() => expect(watched.news).toEqual(['added d 1', 'changed d 2', 'removed a 1']))
    await settles(watched)
    expect(watched.status()).toMatchObject({ synced: true, watching: true })
  })

  test('objects look the same by either way: kind and version set, managed fields gone', async () => {
    await put('a')
    const [over, paged] = [await mirror(), await mirror({ watchList: false })]
    const object = over.store.get(`${namespace}/a`)
    expect(object).toMatchObject({ kind: 'ConfigMap', apiVersion: 'v1' })
    expect(object?.metadata).not.toHaveProperty('managedFields')
    expect(paged.store.get(`${namespace}/a`)).toEqual(object)
  })

  test('a watch asks for bookmarks, a random end, and goes on from where it was when it comes', async () => {
    const watched = await mirror({ watchSeconds: [1, 2] })
    await put('a')
    await eventually(() => watches().length >= 3)
    await put('b')
    await settles(watched)
    const [first, ...rest] = watches()
    expect(first?.query.get('sendInitialEvents')).toBe('true')
    for (const { query } of rest) {
      expect(query.get('allowWatchBookmarks')).toBe('true')
      expect(query.get('resourceVersion')).toMatch(/^\d+$/)
      expect(query.has('sendInitialEvents')).toBe(false)
    }
    expect(ground.count('portcullis_kube_lists_total')).toBe(1)
    expect(ground.count('portcullis_kube_watch_ends_total', { why: 'ended' })).toBeGreaterThanOrEqual(2)
    expect(ground.reports).toEqual([])
  })

  test('label and field selectors are the server’s work; what leaves the selection is removed', async () => {
    await put('a')
    await put('b')
    await patch(
      transport,
      place('a'),
      { type: 'merge', body: { metadata: { labels: { want: 'yes' } } } },
      soon(),
    )
    const watched = await mirror({}, { labelSelector: 'want=yes' })
    expect(watched.store.list().map(({ metadata }) => metadata.name)).toEqual(['a'])
    await patch(
      transport,
      place('a'),
      { type: 'merge', body: { metadata: { labels: { want: 'no' } } } },
      soon(),
    )
    await eventually(() => watched.store.size() === 0)
    const only = await mirror({}, { fieldSelector: 'metadata.name=b' })
    expect(only.store.list().map(({ metadata }) => metadata.name)).toEqual(['b'])
  })

  test.each([true, false])(
    'metadata only: no spec crosses the wire (initial events: %s)',
    async (watchList) => {
      await api.kubectl(['create', 'serviceaccount', 'default', '-n', namespace])
      await api.kubectl(['run', 'p', '-n', namespace, '--image=x', '--restart=Never'])
      const watched = await mirror(
        { watchList },
        { place: { resource: PODS, namespace }, metadataOnly: true },
      )
      const pod = watched.store.get(`${namespace}/p`)
      expect(pod?.metadata.labels).toEqual({ run: 'p' })
      expect(pod?.spec).toBeUndefined()
      await api.kubectl(['label', 'pod', 'p', '-n', namespace, 'x=y'])
      await eventually(() => watched.store.get(`${namespace}/p`)?.metadata.labels?.['x'] === 'y')
      const lines = proxy.streams.flatMap(({ lines }) => lines)
      expect(lines.length).toBeGreaterThan(0)
      for (const line of lines) expect(JSON.parse(line)).not.toHaveProperty('object.spec')
    },
  )

  test('a handler, a transform and an index that throw are counted and change nothing else', async () => {
    await put('bad')
    const watched = await mirror(
      {},
      {
        transform: (object) => {
          if (object.metadata.name === 'bad') throw new Error('no')
          return object
        },
        indexes: {
          broken: () => {
            throw new Error('no')
          },
        },
      },
    )
    watched.subscribe(() => {
      throw new Error('no')
    })
    await put('good')
    await eventually(() => expect(watched.news).toEqual(['added good 1']))
    expect(watched.store.by('broken', 'x')).toEqual([])
    expect(ground.count('portcullis_kube_handler_failures_total')).toBe(3)
  })

  test('who subscribes late hears first of what exists', async () => {
    await put('a')
    const watched = await mirror()
    const heard: string[] = []
    const leave = watched.subscribe((type, key) => heard.push(`${type} ${key}`))
    expect(heard).toEqual([`added ${namespace}/a`])
    leave()
    await put('b')
    await settles(watched)
    expect(heard).toHaveLength(1)
  })
})

describe('a mirror in trouble', () => {
  const expired = () =>
    `${JSON.stringify({ type: 'ERROR', object: JSON.parse(statusBody(410, 'Expired')) })}\n`
  const garbage: readonly (readonly [string, (stream: Stream) => void, string])[] = [
    ['a connection cut', (stream) => stream.cut(), 'cut'],
    [
      'an end in the middle of a line',
      (stream) => {
        stream.inject('{"type":"ADDED","object":{"meta')
        stream.end()
      },
      'garbage',
    ],
    ['a line that is not JSON', (stream) => stream.inject('<html>504</html>\n'), 'garbage'],
    ['an event without an object', (stream) => stream.inject('{"type":"MODIFIED","object":{}}\n'), 'garbage'],
    ['410 over the stream', (stream) => stream.inject(expired()), 'gone'],
    [
      '500 over the stream',
      (stream) => stream.inject(`{"type":"ERROR","object":${statusBody(500, 'InternalError')}}\n`),
      'refused',
    ],
    ['an early proper end', (stream) => stream.end(), 'ended'],
  ]
  test.each(garbage)('%s: nothing is lost, nothing is heard twice', async (_, hurt, why) => {
    await put('a')
    const watched = await mirror()
    await put('b')
    await eventually(() => watched.store.size() === 2)
    watched.news.length = 0
    const stream = last()
    // The change is made while nobody can see it.
    stream.freeze()
    await set('b', '2')
    await drop('a')
    await put('c')
    hurt(stream)
    await settles(watched)
    expect([...watched.news].sort()).toEqual(['added c 1', 'changed b 2', 'removed a 1'])
    expect(ground.count('portcullis_kube_watch_ends_total', { why })).toBeGreaterThanOrEqual(1)
    await eventually(() => watched.status().watching)
    await put('d')
    await settles(watched)
  })

  test('events sent twice, and old ones sent again, change nothing', async () => {
    const watched = await mirror()
    await put('a')
    await set('a', '2')
    await set('a', '3')
    await eventually(() => watched.news.length === 3)
    const events = last().lines.filter(
      (line) => /"type":"(?:ADDED|MODIFIED)"/.test(line) && line.includes('"name":"a"'),
    )
    expect(events.length).toBeGreaterThanOrEqual(3)
    for (const line of [...events, ...events.reverse()]) last().inject(`${line}\n`)
    await put('b')
    await settles(watched)
    expect(watched.news).toEqual(['added a 1', 'changed a 2', 'changed a 3', 'added b 1'])
    expect(ground.count('portcullis_kube_watch_events_total', { type: 'DUPLICATE' })).toBeGreaterThanOrEqual(
      6,
    )
  })

  test('a silent watch is given up after the stall time, without reading everything again', async () => {
    // A tenth of the speed: every limit is ten times as far away.
    ground = createGround({ monotonic: () => performance.now() / 10 })
    await put('a')
    const watched = await mirror({ stallMs: 400 })
    await put('b')
    await eventually(() => watched.store.size() === 2)
    last().freeze()
    await put('c')
    await eventually(() => watched.store.size() === 3)
    // Looked at before anything else that takes time: a watch that stalls again and again is given up at last.
    expect(ground.count('portcullis_kube_lists_total')).toBe(1)
    expect(ground.count('portcullis_kube_watch_ends_total', { why: 'stalled' })).toBeGreaterThanOrEqual(1)
    await settles(watched)
  })

  test('deleted and made again while nobody looked: a removal and an addition, never a change', async () => {
    await put('a', 'old')
    const watched = await mirror()
    await eventually(() => watched.status().watching)
    const stream = last()
    stream.freeze()
    await drop('a')
    await put('a', 'new')
    stream.inject(expired())
    await eventually(() => expect(watched.news).toEqual(['added a old', 'removed a old', 'added a new']))
  })

  test.each([400, 422])(
    'a server that answers initial events with %i is read by pages, for good',
    async (status) => {
      proxy.on(({ query }) =>
        query.has('sendInitialEvents') ? { status, body: statusBody(status, 'Invalid') } : undefined,
      )
      await put('a')
      const watched = await mirror()
      last().inject(expired())
      await put('b')
      await settles(watched)
      expect(watches().filter(({ query }) => query.has('sendInitialEvents'))).toHaveLength(1)
      expect(ground.count('portcullis_kube_lists_total', { how: 'list' })).toBeGreaterThanOrEqual(2)
    },
  )

  test('a server that never finishes its initial events is read by pages', async () => {
    await put('a')
    let spoilt = 0
    proxy.on(({ query }) => {
      if (!query.has('sendInitialEvents')) return undefined
      spoilt += 1
      return {
        status: 200,
        body: '{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}\n',
      }
    })
    const watched = await mirror()
    await settles(watched)
    expect(spoilt).toBe(3)
    expect(watched.news).toEqual(['added a 1'])
  })

  test('a version from which only nonsense can be had is given up after three tries', async () => {
    await put('a')
    const watched = await mirror()
    // Of the first version that is asked for, and of no other: once all was read again there is another one.
    let spoilt: string | null = null
    proxy.on(({ query }) => {
      const version = query.get('resourceVersion')
      if (!query.has('watch') || version === null) return undefined
      spoilt ??= version
      return version === spoilt ? { status: 200, body: '<html>\n' } : undefined
    })
    const cut = last()
    cut.freeze()
    await put('b')
    const before = ground.count('portcullis_kube_lists_total')
    cut.cut()
    await settles(watched)
    expect(ground.count('portcullis_kube_watch_ends_total', { why: 'garbage' })).toBeGreaterThanOrEqual(3)
    expect(ground.count('portcullis_kube_lists_total')).toBe(before + 1)
  })

  test('410 in the middle of the pages begins again, and the third time asks for all at once', async () => {
    for (const name of ['a', 'b', 'c']) await put(name)
    proxy.on(({ query }) =>
      query.has('continue') ? { status: 410, body: statusBody(410, 'Expired') } : undefined,
    )
    const watched = await mirror({ watchList: false, pageSize: 2 })
    expect(watched.store.size()).toBe(3)
    expect(
      proxy.asked.filter(({ query }) => query.get('limit') === '2' && !query.has('continue')),
    ).toHaveLength(2)
  })

  const refusals: readonly (readonly [string, Parameters<FaultProxy['on']>[0]])[] = [
    ['500', () => ({ status: 500, body: statusBody(500, 'InternalError') })],
    ['403', () => ({ status: 403, body: statusBody(403, 'Forbidden') })],
    ['404, a kind that is not installed yet', () => ({ status: 404, body: '404 page not found' })],
    ['a page of HTML with 200', () => ({ status: 200, body: '<html>' })],
    ['a reset connection', () => ({ reset: true })],
    ['JSON that is not a list', () => ({ status: 200, body: '{"items":[{"metadata":{}}]}' })],
  ]
  test.each(refusals)(
    '%s for every list and watch: it never gives up, backs off, and says what is wrong',
    async (_, fault) => {
      await put('a')
      let failing = true
      proxy.on((asked) => (failing && asked.method === 'GET' ? fault(asked) : undefined))
      const syncing = mirror({ backoffMs: [10, 100] })
      await eventually(() => ground.reports.length >= 8)
      expect(proxy.asked.length).toBeLessThan(60)
      expect(ground.count('portcullis_kube_lists_total')).toBe(0)
      failing = false
      const watched = await syncing
      expect(watched.news).toEqual(['added a 1'])
      await eventually(() => watched.status().watching && watched.status().failure === undefined)
    },
  )

  test('429 is waited out for as long as the server says', async () => {
    await put('a')
    let turnedAway = 0
    proxy.on(({ method }) => {
      if (method !== 'GET' || turnedAway >= 2) return undefined
      turnedAway += 1
      return { status: 429, headers: { 'retry-after': '1' }, body: statusBody(429, 'TooManyRequests') }
    })
    const before = performance.now()
    const watched = await mirror()
    expect(performance.now() - before).toBeGreaterThan(2_000)
    expect(watched.store.size()).toBe(1)
    expect(ground.reports.filter((line) => line.startsWith('kube_throttled'))).toHaveLength(2)
  })

  test('a slow list is waited for, a list that is too slow is asked again', async () => {
    await put('a')
    let slow = 2
    proxy.on(({ method, query }) => {
      if (method !== 'GET' || query.has('watch') || slow === 0) return undefined
      slow -= 1
      return { delayMs: slow === 1 ? 30_000 : 300 }
    })
    const watched = await mirror({ watchList: false, listTimeoutMs: 4_000 })
    expect(watched.store.size()).toBe(1)
    expect(lists()).toBe(2)
  })

  test('the API server stopped and started: the mirror follows, having read everything again', async () => {
    await put('a')
    const watched = await mirror()
    await api.stop('apiserver')
    await eventually(() => !watched.status().watching)
    expect(watched.store.size()).toBe(1)
    await api.start('apiserver')
    await put('b')
    await settles(watched)
    expect(ground.count('portcullis_kube_lists_total')).toBeGreaterThanOrEqual(2)
    expect(watched.news).toEqual(['added a 1', 'added b 1'])
  })

  test('a frozen API server is noticed by its silence', async () => {
    await put('a')
    const watched = await mirror({ stallMs: 500 })
    api.pause('apiserver')
    await eventually(() => ground.count('portcullis_kube_watch_ends_total', { why: 'stalled' }) >= 1)
    api.resume('apiserver')
    await put('b')
    await settles(watched)
  })

  test('whatever is done to it at random, it ends up equal to the server', async () => {
    await put('x0')
    const watched = await mirror({ stallMs: 300 })
    const hurts = [...garbage.map(([, hurt]) => hurt), (stream: Stream) => stream.freeze()]
    for (let round = 0; round < 60; round += 1) {
      const name = `x${round % 7}`
      const kind = Math.floor(Math.random() * 3)
      if (kind === 0) await put(name, String(round)).catch(() => undefined)
      else if (kind === 1) await set(name, String(round))
      else await drop(name)
      const open = proxy.streams.filter((one) => one.open).at(-1)
      if (open && Math.random() < 0.6) hurts[Math.floor(Math.random() * hurts.length)]?.(open)
    }
    await settles(watched)
    expect(watched.status().synced).toBe(true)
  })

  test('disposed of, it asks for nothing more', async () => {
    const watched = await mirror()
    await watched[Symbol.asyncDispose]()
    opened.length = 0
    await eventually(() => proxy.streams.every((one) => !one.open))
    const asked = proxy.asked.length
    await put('a')
    expect(proxy.asked.length).toBe(asked + 1)
    expect(watched.store.size()).toBe(0)
    await expect((await openIdle()).whenSynced(AbortSignal.abort(new Error('enough')))).rejects.toThrow(
      'enough',
    )
  })
  const openIdle = async () => {
    proxy.on(() => ({ status: 500 }))
    const watched = await openWatch(
      transport,
      { place: place(), transform: (one: KubeObject) => one },
      ground,
    )
    opened.push(watched)
    return watched
  }
})
