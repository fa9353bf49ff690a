import { describe, expect, test } from 'vitest'
import { asObject, keyOf, type Place, pathOf, stripManagedFields } from '../../../operator/kube/resource.ts'
import { LEASES, NAMESPACES, PODS } from '../../../operator/kube/resources.ts'

describe('paths', () => {
  test.each<readonly [Place, string]>([
    [{ resource: PODS }, '/api/v1/pods'],
    [{ resource: PODS, namespace: 'n' }, '/api/v1/namespaces/n/pods'],
    [
      { resource: PODS, namespace: 'n', name: 'x', subresource: 'status' },
      '/api/v1/namespaces/n/pods/x/status',
    ],
    [{ resource: NAMESPACES, name: 'n' }, '/api/v1/namespaces/n'],
    [{ resource: NAMESPACES, namespace: 'ignored', name: 'n' }, '/api/v1/namespaces/n'],
    [{ resource: LEASES, namespace: 'n' }, '/apis/coordination.k8s.io/v1/namespaces/n/leases'],
    [{ resource: PODS, namespace: 'n', name: 'a/b?c#d' }, '/api/v1/namespaces/n/pods/a%2Fb%3Fc%23d'],
  ])('%j is %s', (place, path) => {
    expect(pathOf(place)).toBe(path)
  })

  test.each(['..', '.', ''])('the name "%s" leads nowhere', (name) => {
    expect(() => pathOf({ resource: PODS, namespace: 'n', name })).toThrow(TypeError)
    expect(() => pathOf({ resource: PODS, namespace: name, name: 'x' })).toThrow(TypeError)
  })
})

describe('objects', () => {
  test.each([
    [{ metadata: { name: 'x', namespace: 'n' } }, 'n/x'],
    [{ metadata: { name: 'x' } }, 'x'],
  ])('%j has the key %s', (object, key) => {
    expect(keyOf(object)).toBe(key)
  })

  test.each([
    null,
    5,
    'x',
    [],
    {},
    { metadata: null },
    { metadata: {} },
    { metadata: { name: '' } },
    { metadata: { name: 5 } },
  ])('%j is no object', (value) => {
    expect(asObject(value)).toBeUndefined()
  })

  test('managed fields go, and nothing else', () => {
    const object = { kind: 'Pod', metadata: { name: 'x', managedFields: [{}], labels: { a: 'b' } }, spec: {} }
    expect(stripManagedFields(object)).toEqual({
      kind: 'Pod',
      metadata: { name: 'x', labels: { a: 'b' } },
      spec: {},
    })
  })
})
