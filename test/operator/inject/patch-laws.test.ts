import fc from 'fast-check'
import { expect, test } from 'vitest'
import { INJECTED, inject, type Operation } from '../../../operator/inject/patch.ts'
import { NEIGHBOUR } from '../../../operator/inject/sidecar.ts'
import { FACTS, patched, profile, read, written } from './pods.ts'

// Laws of injection, for pods of every shape.

const INJECT = 'portcullis.dev/inject'

// biome-ignore lint/suspicious/noExplicitAny: pods in every shape
type Any = any

function operations(pod: Any): readonly Operation[] {
  const result = inject(read(pod), {}, profile(), FACTS)
  if (!('patch' in result)) throw new Error(JSON.stringify(result))
  return result.patch
}

const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/)
const container = fc.record(
  {
    name,
    image: name,
    env: fc.array(fc.record({ name: fc.stringMatching(/^[A-Z_]{1,8}$/), value: fc.string() }), {
      maxLength: 3,
    }),
    volumeMounts: fc.array(fc.record({ name, mountPath: name.map((one) => `/data/${one}`) }), {
      maxLength: 3,
    }),
    ports: fc.array(fc.record({ containerPort: fc.integer({ min: 1, max: 7000 }) }), { maxLength: 2 }),
    args: fc.array(fc.string(), { maxLength: 2 }),
  },
  { requiredKeys: ['name', 'image'] },
)
const anyPod = fc
  .record(
    {
      containers: fc.array(container, { minLength: 1, maxLength: 4 }),
      initContainers: fc.array(container, { maxLength: 3 }),
      volumes: fc.array(fc.record({ name, emptyDir: fc.constant({}) }), { maxLength: 3 }),
      nodeName: name,
    },
    { requiredKeys: ['containers'] },
  )
  .chain((spec) =>
    fc.record({
      spec: fc.constant(spec),
      annotations: fc.option(fc.dictionary(name, fc.string(), { maxKeys: 3 }), { nil: undefined }),
    }),
  )
  .map(({ spec, annotations }) => written(spec, { [INJECT]: 'enabled' }, annotations ? { annotations } : {}))

test('whatever the pod: twice is once, and without what is ours it is what the user wrote', () => {
  fc.assert(
    fc.property(anyPod, (pod) => {
      const once = patched(pod, operations(pod))
      expect(operations(once)).toEqual([])
      expect(withoutOurs(once)).toEqual(normal(pod))
    }),
    { numRuns: 300 },
  )
})

test('whatever another webhook does between: containers added and reordered end with one sidecar, first, and all mounts', () => {
  fc.assert(
    fc.property(anyPod, fc.array(container, { maxLength: 3 }), fc.boolean(), (pod, more, before) => {
      const between: Any = patched(pod, operations(pod))
      const late = more.map((one, index) => ({ ...one, name: `late-${index}` }))
      between.spec.containers = before
        ? [...late, ...between.spec.containers]
        : [...between.spec.containers, ...late]
      between.spec.initContainers = before
        ? [...late, ...between.spec.initContainers]
        : between.spec.initContainers
      const result: Any = patched(between, operations(between))
      const initial = result.spec.initContainers
      expect(initial[0].name).toBe('portcullis')
      expect(initial.filter((one: Any) => one.name === 'portcullis')).toHaveLength(1)
      for (const one of [...result.spec.containers, ...initial.slice(1)])
        for (const mount of NEIGHBOUR.mounts) expect(one.volumeMounts).toContainEqual(mount)
    }),
    { numRuns: 100 },
  )
})

/** Takes away what injection adds; an empty list and none are the same. */
function withoutOurs(pod: Any): Any {
  const copy = structuredClone(pod)
  delete copy.metadata.annotations[INJECTED]
  copy.spec.initContainers = copy.spec.initContainers.filter((one: Any) => one.name !== 'portcullis')
  copy.spec.volumes = copy.spec.volumes.filter((one: Any) => !one.name.startsWith('portcullis-'))
  for (const one of [...copy.spec.containers, ...copy.spec.initContainers]) {
    one.env = one.env.filter((variable: Any) => !NEIGHBOUR.env.some((ours) => ours.name === variable.name))
    one.volumeMounts = one.volumeMounts.filter((mount: Any) => !mount.name.startsWith('portcullis-'))
  }
  return normal(copy)
}

function normal(pod: Any): Any {
  const copy = structuredClone(pod)
  copy.metadata.annotations ??= {}
  copy.spec.initContainers ??= []
  copy.spec.volumes ??= []
  for (const one of [...copy.spec.containers, ...copy.spec.initContainers]) {
    one.env ??= []
    one.volumeMounts ??= []
  }
  return copy
}
