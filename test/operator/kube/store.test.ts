import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type KubeObject, keyOf } from '../../../operator/kube/resource.ts'
import { createStore, type Handler } from '../../../operator/kube/store.ts'

const pod = (name: string, uid: string, resourceVersion: string, node = 'a'): KubeObject => ({
  metadata: { name, namespace: 'n', uid, resourceVersion, labels: { node } },
})

function storeWith(notify: Handler<KubeObject> = () => undefined) {
  return createStore<KubeObject>({
    transform: (object) => (object.metadata.labels?.['node'] === 'skipped' ? undefined : object),
    indexes: { node: ({ metadata }) => [metadata.labels?.['node'] ?? ''] },
    notify,
  })
}

describe('the store', () => {
  const first = pod('x', 'u1', '1')
  const rows: readonly (readonly [string, KubeObject, readonly string[]])[] = [
    ['the same version of the same object is no news', pod('x', 'u1', '1'), []],
    ['a later version is a change', pod('x', 'u1', '2'), ['changed u1->u1']],
    [
      'another UID under the name is a removal and an addition',
      pod('x', 'u2', '2'),
      ['removed u1', 'added u2'],
    ],
    ['what the transform leaves out is removed', pod('x', 'u1', '2', 'skipped'), ['removed u1']],
    ['another UID that is left out is a removal', pod('x', 'u2', '2', 'skipped'), ['removed u1']],
  ]
  test.each(rows)('%s', (_, next, want) => {
    const heard: string[] = []
    const store = storeWith((type, __, object, old) =>
      heard.push(
        type === 'changed'
          ? `changed ${old?.metadata.uid}->${object.metadata.uid}`
          : `${type} ${object.metadata.uid}`,
      ),
    )
    store.upsert(first)
    heard.length = 0
    store.upsert(next)
    expect(heard).toEqual(want)
  })

  test.each(rows)('%s, by replacement too', (_, next, want) => {
    const heard: string[] = []
    const store = storeWith((type, __, object) => heard.push(`${type} ${object.metadata.uid}`))
    store.replace([first, pod('y', 'u9', '1')])
    heard.length = 0
    store.replace([next, pod('y', 'u9', '1')])
    expect(heard).toEqual(want.map((line) => line.replace(/u1->/, '')))
  })

  test('a removal that names an older incarnation leaves the present one', () => {
    const store = storeWith()
    store.upsert(pod('x', 'u2', '5'))
    store.remove(pod('x', 'u1', '6'))
    expect(store.get('n/x')?.metadata.uid).toBe('u2')
  })

  test('an index that was not declared is a mistake of the program', () => {
    expect(() => storeWith().by('nope', 'a')).toThrow(TypeError)
  })

  test('handlers see a store that already has the change', () => {
    const seen: (string | undefined)[] = []
    const store = storeWith((_, key) => seen.push(store.get(key)?.metadata.resourceVersion))
    store.upsert(pod('x', 'u1', '1'))
    store.upsert(pod('x', 'u1', '2'))
    store.remove(pod('x', 'u1', '3'))
    expect(seen).toEqual(['1', '2', undefined])
  })

  test('whatever happens, it equals what it was told, its indexes agree, and its news add up to it', () => {
    const objects = fc
      .record({
        name: fc.constantFrom('x', 'y', 'z'),
        uid: fc.constantFrom('u1', 'u2'),
        node: fc.constantFrom('a', 'b', 'skipped'),
      })
      .map(({ name, uid, node }) => ({ name, uid, node }))
    const steps = fc.array(
      fc.oneof(
        fc.record({ do: fc.constant('upsert' as const), of: objects }),
        fc.record({ do: fc.constant('remove' as const), of: objects }),
        fc.record({
          do: fc.constant('replace' as const),
          all: fc.uniqueArray(objects, { selector: ({ name }) => name }),
        }),
      ),
    )
    fc.assert(
      fc.property(steps, (script) => {
        const mirror = new Map<string, KubeObject>()
        const store = storeWith((type, key, object) => {
          if (type === 'removed') expect(mirror.delete(key)).toBe(true)
          else {
            expect(mirror.has(key)).toBe(type === 'changed')
            mirror.set(key, object)
          }
        })
        const model = new Map<string, KubeObject>()
        let version = 0
        const make = ({ name, uid, node }: { name: string; uid: string; node: string }) => {
          version += 1
          return pod(name, uid, String(version), node)
        }
        const put = (object: KubeObject) => {
          if (object.metadata.labels?.['node'] === 'skipped') model.delete(keyOf(object))
          else model.set(keyOf(object), object)
        }
        for (const step of script) {
          if (step.do === 'upsert') {
            const object = make(step.of)
            store.upsert(object)
            put(object)
          } else if (step.do === 'remove') {
            const object = make(step.of)
            store.remove(object)
            if (model.get(keyOf(object))?.metadata.uid === step.of.uid) model.delete(keyOf(object))
          } else {
            const all = step.all.map(make)
            store.replace(all)
            model.clear()
            all.forEach(put)
          }
          expect(new Map(store.list().map((one) => [keyOf(one), one]))).toEqual(model)
          expect(mirror).toEqual(model)
          for (const node of ['a', 'b']) {
            const want = [...model.values()].filter(({ metadata }) => metadata.labels?.['node'] === node)
            expect(store.by('node', node).map(keyOf).sort()).toEqual(want.map(keyOf).sort())
          }
        }
      }),
    )
  })
})
