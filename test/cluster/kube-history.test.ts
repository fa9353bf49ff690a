import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { expectValue } from '../../operator/kube/answer.ts'
import type { KubeObject } from '../../operator/kube/resource.ts'
import { CONFIG_MAPS } from '../../operator/kube/resources.ts'
import { openTransport, type Transport } from '../../operator/kube/transport.ts'
import { create, patch } from '../../operator/kube/verbs.ts'
import { openWatch } from '../../operator/kube/watch.ts'
import { openApi } from '../cluster-node/api.ts'
import { openFaultProxy } from './kube-fault-proxy.ts'
import { createGround, eventually, soon } from './kube-ground.ts'

// API servers whose past is not what the mirror remembers, and one that does not serve initial events.

const place = { resource: CONFIG_MAPS, namespace: 'default' }
const rules = { backoffMs: [20, 300] } as const

async function put(transport: Transport, name: string, value: string): Promise<void> {
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { value } }
  expectValue(await create(transport, place, object, soon()), 'create')
}

const latest = (objects: readonly KubeObject[]): number =>
  Math.max(...objects.map(({ metadata }) => Number(metadata.resourceVersion)))

const valuesOf = (objects: readonly KubeObject[]) =>
  Object.fromEntries(
    objects.map((one) => [one.metadata.name, (one.data as { value?: string } | undefined)?.value]),
  )

test('an etcd restored from an older copy: the mirror goes back with it, versions or not', async () => {
  await using api = await openApi()
  const ground = createGround()
  await using transport = await openTransport({ kind: 'file', path: api.kubeconfig }, ground)
  const [data, copy] = [join(api.directory, 'etcd'), join(api.directory, 'etcd-copy')]
  await put(transport, 'kept', 'old')
  await put(transport, 'deleted-later', 'old')
  await api.stop()
  cpSync(data, copy, { recursive: true })
  await api.start()

  const admin = await api.user('history-tests', ['system:masters'])
  await using proxy = await openFaultProxy({ url: api.url, caFile: api.caFile, ...admin })
  await using behind = await openTransport({ kind: 'given', server: proxy.url }, ground)
  await using watched = await openWatch(
    behind,
    { place, transform: (one: KubeObject) => one, rules: { backoffMs: [15_000, 15_000] } },
    ground,
  )
  await watched.whenSynced(soon())
  const change = { type: 'merge', body: { data: { value: 'new' } } } as const
  await patch(transport, { ...place, name: 'kept' }, change, soon())
  await put(transport, 'never-was', 'new')
  await api.kubectl(['delete', 'configmap', 'deleted-later', '-n', 'default'])
  await eventually(() => expect(valuesOf(watched.store.list())).toEqual({ kept: 'new', 'never-was': 'new' }))

  // Nobody answers the mirror until the restored history has grown past the version it knows.
  const known = latest(watched.store.list())
  proxy.on(() => ({ reset: true }))
  await api.stop()
  rmSync(data, { recursive: true })
  cpSync(copy, data, { recursive: true })
  await api.start()
  for (let turn = 0; ; turn += 1) {
    const spin = { type: 'merge', body: { data: { value: String(turn) } } } as const
    await put(transport, `spin-${turn}`, '0')
    const spun = expectValue(
      await patch(transport, { ...place, name: `spin-${turn}` }, spin, soon()),
      'patch',
    )
    await api.kubectl(['delete', 'configmap', `spin-${turn}`, '-n', 'default'])
    if (Number(spun.metadata.resourceVersion) > known + 10) break
  }
  proxy.on(() => undefined)
  await eventually(
    () => expect(valuesOf(watched.store.list())).toEqual({ kept: 'old', 'deleted-later': 'old' }),
    40_000,
  )
  await put(transport, 'after', '1')
  await eventually(() => watched.store.get('default/after') !== undefined)
})

test('a real server that does not serve initial events is asked once, then read by pages for good', async () => {
  await using api = await openApi({ args: ['--feature-gates=WatchList=false'] })
  const ground = createGround()
  await using transport = await openTransport({ kind: 'file', path: api.kubeconfig }, ground)
  await put(transport, 'a', '1')
  await using watched = await openWatch(
    transport,
    { place, transform: (one: KubeObject) => one, rules: { ...rules, watchSeconds: [1, 1] } },
    ground,
  )
  await watched.whenSynced(soon())
  await put(transport, 'b', '1')
  await eventually(() => watched.store.get('default/b') !== undefined)
  await api.stop('apiserver')
  await api.start('apiserver')
  await put(transport, 'c', '1')
  await eventually(() => watched.store.get('default/c') !== undefined)
  expect(ground.count('portcullis_kube_lists_total', { how: 'watchlist' })).toBe(0)
  expect(ground.count('portcullis_kube_lists_total', { how: 'list' })).toBeGreaterThanOrEqual(2)
  expect(ground.count('rest_client_requests_total', { code: '422' })).toBe(1)
})
