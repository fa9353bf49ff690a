import { expect, test } from 'vitest'
import { audit, type RunningPod } from '../../../operator/inject/audit.ts'
import { IMAGE } from './pods.ts'

const INJECT = 'portcullis.dev/inject'
const MARK = 'default@0123456789abcdef'
const EXPECTED = {
  mark: MARK,
  image: IMAGE,
  exempt: new Set(['kube-system', 'portcullis-system']),
  namespaceLabels: (namespace: string) => (namespace === 'gone' ? undefined : { [INJECT]: 'enabled' }),
}

function pod(name: string, more: Partial<RunningPod> = {}): RunningPod {
  return {
    namespace: 'shop',
    name,
    labels: {},
    annotations: { 'portcullis.dev/injected': MARK },
    initContainers: [{ name: 'portcullis', image: IMAGE }],
    phase: 'Running',
    mirror: false,
    ...more,
  }
}

test.each<[string, Partial<RunningPod>, readonly [number, number, number]]>([
  ['as the profile says', {}, [1, 0, 0]],
  ['pending', { phase: 'Pending' }, [1, 0, 0]],
  ['without init containers', { initContainers: [] }, [0, 1, 0]],
  [
    'with the sidecar second',
    {
      initContainers: [
        { name: 'a', image: 'i' },
        { name: 'portcullis', image: IMAGE },
      ],
    },
    [0, 1, 0],
  ],
  ['with another image', { initContainers: [{ name: 'portcullis', image: 'other' }] }, [0, 0, 1]],
  ['with an earlier mark', { annotations: { 'portcullis.dev/injected': 'default@old' } }, [0, 0, 1]],
  ['without mark', { annotations: {} }, [0, 0, 1]],
  ['that ended', { initContainers: [], phase: 'Succeeded' }, [0, 0, 0]],
  ['that declines', { initContainers: [], labels: { [INJECT]: 'disabled' } }, [0, 0, 0]],
  ['in an exempt namespace', { initContainers: [], namespace: 'kube-system' }, [0, 0, 0]],
  ['in a namespace that is gone', { initContainers: [], namespace: 'gone' }, [0, 0, 0]],
  ['of a node', { initContainers: [], mirror: true }, [0, 0, 0]],
])('a pod %s', (_name, more, [injected, missing, outdated]) => {
  expect(audit([pod('a', more)], EXPECTED).pods).toEqual({ injected, missing, outdated })
})

test('samples are the first five by name, whatever the order', () => {
  const names = ['f', 'b', 'a', 'e', 'd', 'c'].map((name) => pod(name, { initContainers: [] }))
  const found = audit(names, EXPECTED)
  expect(found.missingSample).toEqual(['shop/a', 'shop/b', 'shop/c', 'shop/d', 'shop/e'])
  expect(found.pods.missing).toBe(6)
  expect(found.outdatedSample).toEqual([])
})
