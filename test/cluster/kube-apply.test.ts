import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { kubeRegistry } from '../../operator/identity/kube-registry.ts'
import { expectValue } from '../../operator/kube/answer.ts'
import { apply, applyStatus } from '../../operator/kube/apply.ts'
import { setCondition } from '../../operator/kube/conditions.ts'
import { EVENT_LIMITS, type EventLimits, type Happening, openEvents } from '../../operator/kube/events.ts'
import type { KubeObject, Resource } from '../../operator/kube/resource.ts'
import { CONFIG_MAPS, EVENTS, PODS } from '../../operator/kube/resources.ts'
import { openTransport, type Transport } from '../../operator/kube/transport.ts'
import { get, list, remove } from '../../operator/kube/verbs.ts'
import { type Api, openApi } from '../cluster-node/api.ts'
import { openFaultProxy } from './kube-fault-proxy.ts'
import { createGround, eventually, type Ground, soon } from './kube-ground.ts'

let api: Api & AsyncDisposable
let transport: Transport
let ground: Ground
let namespace = ''

const WIDGETS: Resource = {
  group: 'test.portcullis.dev',
  version: 'v1',
  plural: 'widgets',
  kind: 'Widget',
  namespaced: true,
}
const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true }
const CONDITIONS = {
  type: 'array',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
  items: {
    type: 'object',
    required: ['type'],
    properties: { type: { type: 'string' } },
    'x-kubernetes-preserve-unknown-fields': true,
  },
}
const CRD = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'widgets.test.portcullis.dev' },
  spec: {
    group: WIDGETS.group,
    scope: 'Namespaced',
    names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: { spec: open, status: { ...open, properties: { conditions: CONDITIONS } } },
          },
        },
      },
    ],
  },
}

beforeAll(async () => {
  api = await openApi()
  ground = createGround()
  transport = await openTransport({ kind: 'file', path: api.kubeconfig }, ground)
  await api.kubectl(['apply', '-f', '-'], { stdin: JSON.stringify(CRD) })
  await eventually(async () => (await list(transport, { resource: WIDGETS }, soon())).ok)
})
afterAll(async () => {
  await transport?.[Symbol.asyncDispose]()
  await api?.[Symbol.asyncDispose]()
})

let made = 0
beforeEach(async () => {
  made += 1
  namespace = `apply${made}`
  await api.kubectl(['create', 'namespace', namespace])
})

const mapOf = (manager: string, data: Readonly<Record<string, string>>, force = false) => ({
  resource: CONFIG_MAPS,
  metadata: { name: 'm', namespace },
  fields: { data },
  manager,
  force,
})
const widgetOf = (fields: Readonly<Record<string, unknown>>, manager = 'spec-writer') => ({
  resource: WIDGETS,
  metadata: { name: 'w', namespace },
  fields,
  manager,
})

describe('server-side apply', () => {
  test('creates, changes nothing the second time, and removes what is wanted no more', async () => {
    const first = await apply(transport, mapOf('a', { x: '1', y: '2' }), soon())
    const again = await apply(transport, mapOf('a', { x: '1', y: '2' }), soon())
    if (!first.ok || !again.ok) throw new Error('refused')
    expect(again.object.metadata.resourceVersion).toBe(first.object.metadata.resourceVersion)
    expect(again.object.metadata).not.toHaveProperty('managedFields')
    expect(await apply(transport, mapOf('a', { x: '1' }), soon())).toMatchObject({
      ok: true,
      object: { data: { x: '1' } },
    })
    const { value } = (await get(transport, { resource: CONFIG_MAPS, namespace, name: 'm' }, soon())) as {
      value: KubeObject
    }
    expect(value.data).toEqual({ x: '1' })
  })

  test('two managers share an object field by field', async () => {
    await apply(transport, mapOf('a', { x: '1' }), soon())
    expect(await apply(transport, mapOf('b', { y: '2' }), soon())).toMatchObject({
      ok: true,
      object: { data: { x: '1', y: '2' } },
    })
  })

  test('a conflict is a value that names field and manager, and changes nothing', async () => {
    await apply(transport, mapOf('a', { x: '1' }), soon())
    const answer = await apply(transport, mapOf('b', { x: '2', y: '2' }), soon())
    expect(answer).toMatchObject({ ok: false, refused: { status: 409 }, conflict: [{ field: '.data.x' }] })
    if (answer.ok) throw new Error('applied')
    expect(answer.conflict?.[0]?.message).toContain('"a"')
    const now = expectValue(
      await get(transport, { resource: CONFIG_MAPS, namespace, name: 'm' }, soon()),
      'get',
    )
    expect(now.data).toEqual({ x: '1' })
  })

  test('force takes the field over, and the other manager then has the conflict', async () => {
    await apply(transport, mapOf('a', { x: '1' }), soon())
    expect(await apply(transport, mapOf('b', { x: '2' }, true), soon())).toMatchObject({
      ok: true,
      object: { data: { x: '2' } },
    })
    expect(await apply(transport, mapOf('a', { x: '1' }), soon())).toMatchObject({
      ok: false,
      conflict: [{ field: '.data.x' }],
    })
  })

  test.each([
    ['an object that is not valid', { data: 'text' }, 400],
    ['a field that does not exist', { nonsense: true }, undefined],
  ])('%s is not a conflict', async (_, fields, status) => {
    const answer = await apply(transport, { ...mapOf('a', {}), fields }, soon())
    if (answer.ok) expect(status).toBeUndefined()
    else expect(answer.conflict).toBeUndefined()
    if (status !== undefined) expect(answer.ok).toBe(false)
  })

  test('a stale resourceVersion is a refusal without fields', async () => {
    const first = await apply(transport, mapOf('a', { x: '1' }), soon())
    if (!first.ok) throw new Error('refused')
    await apply(transport, mapOf('a', { x: '2' }), soon())
    const { resourceVersion = '' } = first.object.metadata
    const stale = { ...mapOf('a', { x: '3' }), metadata: { name: 'm', namespace, resourceVersion } }
    const answer = await apply(transport, stale, soon())
    expect(answer).toMatchObject({ ok: false, refused: { status: 409 } })
    expect(answer).not.toHaveProperty('conflict')
  })

  test('status goes to its subresource, spec does not, and generation stays', async () => {
    await apply(transport, widgetOf({ spec: { size: 1 } }), soon())
    const answer = await applyStatus(
      transport,
      widgetOf(
        {
          status: {
            conditions: setCondition(
              [],
              { type: 'Ready', status: 'True', reason: 'Done', message: 'ok', observedGeneration: 1 },
              Date.now(),
            ),
          },
        },
        'status-writer',
      ),
      soon(),
    )
    expect(answer).toMatchObject({
      ok: true,
      object: {
        spec: { size: 1 },
        status: { conditions: [{ type: 'Ready', status: 'True' }] },
        metadata: { generation: 1 },
      },
    })
    // A spec writer that also sends a status does not change it.
    await apply(transport, widgetOf({ spec: { size: 2 }, status: { conditions: [] } }), soon())
    const now = expectValue(await get(transport, { resource: WIDGETS, namespace, name: 'w' }, soon()), 'get')
    expect(now).toMatchObject({
      spec: { size: 2 },
      status: { conditions: [{ type: 'Ready' }] },
      metadata: { generation: 2 },
    })
  })

  test('a condition of another manager stays, one of ours is replaced', async () => {
    await apply(transport, widgetOf({ spec: {} }), soon())
    const at = Date.now()
    const one = (type: string, status: 'True' | 'False') =>
      setCondition([], { type, status, reason: 'R', message: '', observedGeneration: 1 }, at)
    await applyStatus(transport, widgetOf({ status: { conditions: one('Theirs', 'True') } }, 'them'), soon())
    await applyStatus(transport, widgetOf({ status: { conditions: one('Ours', 'True') } }, 'us'), soon())
    await applyStatus(transport, widgetOf({ status: { conditions: one('Ours', 'False') } }, 'us'), soon())
    const now = expectValue(await get(transport, { resource: WIDGETS, namespace, name: 'w' }, soon()), 'get')
    const { conditions } = now.status as { conditions: { type: string; status: string }[] }
    expect(conditions.map(({ type, status }) => `${type} ${status}`).sort()).toEqual([
      'Ours False',
      'Theirs True',
    ])
  })

  test('the status of a recreated object is not overwritten with the old one’s', async () => {
    const first = await apply(transport, widgetOf({ spec: {} }), soon())
    if (!first.ok) throw new Error('refused')
    await remove(transport, { resource: WIDGETS, namespace, name: 'w' }, {}, soon())
    await apply(transport, widgetOf({ spec: {} }), soon())
    const { resourceVersion = '' } = first.object.metadata
    const late = {
      ...widgetOf({ status: { seen: 1 } }),
      metadata: { name: 'w', namespace, resourceVersion },
    }
    expect(await applyStatus(transport, late, soon())).toMatchObject({ ok: false, refused: { status: 409 } })
  })
})

describe('events', () => {
  const told = (over: Partial<Happening> = {}): Happening => ({
    regarding: { apiVersion: 'v1', kind: 'ConfigMap', name: 'm', namespace },
    type: 'Warning',
    reason: 'CompileFailed',
    action: 'Compile',
    note: 'policy.rego:3: unexpected token',
    ...over,
  })
  const found = async () =>
    expectValue(await list(transport, { resource: EVENTS, namespace }, soon()), 'list').items
  const opened = (limits: Partial<EventLimits> = {}) =>
    openEvents(
      transport,
      { controller: 'portcullis.dev/operator', instance: 'pod-1', limits: { ...EVENT_LIMITS, ...limits } },
      createGround(),
    )

  test('one is readable with kubectl', async () => {
    await using events = await opened()
    events.tell(told())
    await eventually(async () => expect(await found()).toHaveLength(1))
    expect((await found())[0]).toMatchObject({
      type: 'Warning',
      reason: 'CompileFailed',
      action: 'Compile',
      note: 'policy.rego:3: unexpected token',
      reportingController: 'portcullis.dev/operator',
      reportingInstance: 'pod-1',
      regarding: { kind: 'ConfigMap', name: 'm', namespace },
    })
    expect(await api.kubectl(['get', 'events', '-n', namespace])).toMatch(
      /Warning\s+CompileFailed\s+configmap\/m/i,
    )
  })

  test('the same again is a series of the first, another note is another event', async () => {
    await using events = await opened({ seriesMs: 100 })
    for (let times = 0; times < 50; times += 1) events.tell(told())
    events.tell(told({ note: 'policy.rego:4: unexpected token' }))
    await eventually(async () => {
      const series = (await found()).map((one) => (one as { series?: { count: number } }).series?.count)
      expect(series.sort()).toEqual([50, undefined])
    })
    events.tell(told())
    await eventually(async () => expect(JSON.stringify(await found())).toContain('"count":51'))
  })

  test('after a quiet time it is a new event', async () => {
    await using events = await opened({ idleMs: 50 })
    events.tell(told())
    await eventually(async () => expect(await found()).toHaveLength(1))
    await new Promise((resolve) => setTimeout(resolve, 80))
    events.tell(told())
    await eventually(async () => expect(await found()).toHaveLength(2))
  })

  test('a flood is bounded, and what was left out is counted', async () => {
    const flooded = createGround()
    const limits = { ...EVENT_LIMITS, burst: 5, everyMs: 60_000 }
    await using events = await openEvents(
      transport,
      { controller: 'portcullis.dev/operator', instance: 'p', limits },
      flooded,
    )
    for (let times = 0; times < 200; times += 1) events.tell(told({ note: `note ${times}` }))
    await eventually(() => flooded.count('portcullis_kube_events_total', { outcome: 'created' }) === 5)
    expect(flooded.count('portcullis_kube_events_total', { outcome: 'dropped' })).toBe(195)
    expect(await found()).toHaveLength(5)
  })

  test('a note of any length and script is cut to what the API takes', async () => {
    await using events = await opened()
    events.tell(told({ note: 'é'.repeat(2_000) }))
    await eventually(async () => expect(await found()).toHaveLength(1))
    expect((await found())[0]).toMatchObject({ note: 'é'.repeat(512) })
  })

  test('one about a cluster-scoped object goes to its own namespace; a refused one is counted and harmless', async () => {
    const counted = createGround()
    await using events = await openEvents(
      transport,
      { controller: 'portcullis.dev/operator', instance: 'p', namespace: 'default' },
      counted,
    )
    events.tell(told({ regarding: { apiVersion: 'v1', kind: 'Namespace', name: namespace } }))
    events.tell(
      told({ regarding: { apiVersion: 'v1', kind: 'ConfigMap', name: 'm', namespace: 'no-such-namespace' } }),
    )
    await eventually(() => counted.count('portcullis_kube_events_total') === 2)
    expect(counted.count('portcullis_kube_events_total', { outcome: 'created' })).toBe(1)
    expect(counted.count('portcullis_kube_events_total', { outcome: 'failed' })).toBe(1)
  })
})

describe('the TokenReview of the issuer', () => {
  const AUDIENCE = 'portcullis.test'
  const review = (token: string, via = transport) =>
    kubeRegistry(via, namespace).review(token, AUDIENCE, soon())
  const account = async () => {
    await api.kubectl(['create', 'serviceaccount', 'app', '-n', namespace])
    return (audience: string) =>
      api.kubectl(['create', 'token', 'app', '-n', namespace, `--audience=${audience}`])
  }

  test('a token made for us names its owner and our audience', async () => {
    const tokenFor = await account()
    expect(await review((await tokenFor(AUDIENCE)).trim())).toMatchObject({
      authenticated: true,
      error: '',
      username: `system:serviceaccount:${namespace}:app`,
      audiences: [AUDIENCE],
    })
  })

  test('a token bound to a pod names the pod, and none any more when the pod is gone', async () => {
    await account()
    const run = [
      'run',
      'p',
      '-n',
      namespace,
      '--image=x',
      '--restart=Never',
      '--overrides={"spec":{"serviceAccountName":"app"}}',
    ]
    await api.kubectl(run)
    const pod = expectValue(await get(transport, { resource: PODS, namespace, name: 'p' }, soon()), 'get')
    const { uid = '' } = pod.metadata
    const bound = ['--bound-object-kind=Pod', '--bound-object-name=p', `--bound-object-uid=${uid}`]
    const token = (
      await api.kubectl(['create', 'token', 'app', '-n', namespace, `--audience=${AUDIENCE}`, ...bound])
    ).trim()
    expect(await review(token)).toMatchObject({
      authenticated: true,
      extra: {
        'authentication.kubernetes.io/pod-name': ['p'],
        'authentication.kubernetes.io/pod-uid': [uid],
      },
    })
    await api.kubectl(['delete', 'pod', 'p', '-n', namespace, '--force', '--grace-period=0'])
    await eventually(async () => expect(await review(token)).toMatchObject({ authenticated: false }), 20_000)
  })

  test.each(['another audience', 'garbage'])(
    '%s is not authenticated, and says why without the token',
    async (kind) => {
      const tokenFor = await account()
      const token = kind === 'garbage' ? 'a.b.c' : (await tokenFor('someone-else')).trim()
      const verdict = await review(token)
      expect(verdict).toMatchObject({ authenticated: false, audiences: [] })
      expect(verdict.error).not.toBe('')
      expect(JSON.stringify(verdict)).not.toContain(token)
    },
  )

  // What is believed of it is attestation's to judge (test/operator/identity/issue.test.ts); nothing may be made up on the way there.
  test.each<readonly [string, object, object]>([
    [
      'no audiences: an authenticator that knows none',
      { authenticated: true, user: { username: 'x' } },
      { authenticated: true, audiences: [] },
    ],
    [
      'other audiences',
      { authenticated: true, user: { username: 'x' }, audiences: ['other'] },
      { authenticated: true, audiences: ['other'] },
    ],
    [
      'nobody',
      { authenticated: true, user: {}, audiences: [AUDIENCE] },
      { authenticated: true, username: '' },
    ],
    [
      'text for a yes',
      { authenticated: 'true', user: { username: 'x' }, audiences: [AUDIENCE] },
      { authenticated: false },
    ],
    ['nothing at all', {}, { authenticated: false, username: '', audiences: [] }],
  ])('an answer with %s is read as it is', async (_, status, want) => {
    const admin = await api.user('review-tests', ['system:masters'])
    await using proxy = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
    await using behind = await openTransport({ kind: 'given', server: proxy.url }, createGround())
    proxy.on(() => ({ status: 201, body: JSON.stringify({ kind: 'TokenReview', status }) }))
    expect(await review('a.b.c', behind)).toMatchObject(want)
  })
})
