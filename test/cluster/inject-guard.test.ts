import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { injectionOf } from '../../operator/inject/sidecar.ts'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { type Ground, isPolicy, messageOf, OURS, openGround, until } from '../operator/inject/ground.ts'
import { LOOK_ALIKES, projected } from '../operator/inject/look-alikes.ts'
import { FACTS, IMAGE, injected, NEXT_PEM, PEM, profile, written } from '../operator/inject/pods.ts'

// The guard alone, in a real API server: no operator and no webhook configuration. What it lets through is what we inject, exactly.

const INJECT = 'portcullis.dev/inject'
const missing = notRun('cluster', 'test/cluster/inject-guard.test.ts', apiUnavailable())

describe.skipIf(missing)('the guard', () => {
  let ground: Ground

  beforeAll(async () => {
    ground = await openGround(isPolicy)
    await ground.namespace('shop')
    await ground.namespace('open', { [INJECT]: 'enabled' })
    await ground.namespace('vault', { [INJECT]: 'required' })
    await ground.namespace('portcullis-system', { [INJECT]: 'required' })
    await until('the guard', async () => (await ground.create('shop', written())).status === 422)
  })
  afterAll(() => ground?.[Symbol.asyncDispose]())

  test('refuses whoever asks for a sidecar while the operator has not said what one looks like', async () => {
    expect(messageOf(await ground.create('shop', written()))).toMatch(/no params found for policy binding/)
    const made = await ground.ask('POST', `${OURS}/sidecarprofiles`, {
      apiVersion: 'portcullis.dev/v1alpha1',
      kind: 'SidecarProfile',
      metadata: { name: 'default' },
      spec: { image: IMAGE },
    })
    expect(made.status).toBe(201)
    await until('the profile', async () => (await ground.create('shop', written())).status === 403)
    expect(messageOf(await ground.create('shop', written()))).toMatch(/status\.injection: not written yet/)
    await ground.ask('PATCH', `${OURS}/sidecarprofiles/default/status`, {
      status: { injection: { ...injectionOf(profile(), FACTS), trustAnchors: [PEM, NEXT_PEM] } },
    })
    await until('status.injection', async () => (await ground.create('shop', injected())).status === 201)
  })

  describe.each<[string, string | undefined, string]>([
    ['shop', 'enabled', 'the pod asks'],
    ['open', undefined, 'the namespace asks'],
    ['open', 'enabled', 'both ask'],
    ['vault', undefined, 'administrators require it'],
    ['vault', 'disabled', 'administrators require it and the pod declines'],
  ])('in namespace %s with the pod label %s (%s)', (namespace, label) => {
    const labels = label ? { [INJECT]: label } : {}

    test('an injected pod is let through', async () => {
      expect(await ground.create(namespace, { ...injected(), ...labelled(labels) })).toMatchObject({
        status: 201,
      })
    })
    test('a pod without sidecar is refused, and told what to do', async () => {
      const said = messageOf(await ground.create(namespace, written({}, labels)))
      expect(said).toMatch(
        /pods "app" is forbidden.*spec\.initContainers\[0\]: must be the sidecar "portcullis"/,
      )
      expect(said).toMatch(/then create the pod again/)
    })
  })

  test.each([
    ['shop', {}],
    ['shop', { [INJECT]: 'disabled' }],
    ['open', { [INJECT]: 'disabled' }],
    ['portcullis-system', {}],
    ['kube-system', { [INJECT]: 'enabled' }],
  ])('does not touch a pod that nobody asked a sidecar for (%s %j)', async (namespace, labels) => {
    await ground.namespace(namespace)
    expect(await ground.create(namespace, written({}, labels))).toMatchObject({ status: 201 })
  })

  test.each(LOOK_ALIKES)('refuses %s', async (_name, said, change) => {
    const pod = injected()
    change(pod, pod.spec.initContainers[0])
    const answer = await ground.create('vault', pod)
    expect(messageOf(answer)).toMatch(said)
    expect(answer.status).toBeGreaterThanOrEqual(403)
    expect(messageOf(answer)).toMatch(/portcullis-guard-required/)
  })

  describe('the second socket', () => {
    const asking = (names: string) =>
      injected(
        written(
          {
            containers: [
              { name: 'web', image: 'i' },
              { name: 'agent', image: 'i' },
            ],
          },
          { [INJECT]: 'enabled' },
          { annotations: { 'portcullis.dev/credentials': names } },
        ),
      )

    test.each(['web', 'agent', 'web,agent'])('is let through for %s, as it was injected', async (names) => {
      const { status, body } = await ground.create('vault', asking(names))
      expect([status, body.message]).toEqual([201, undefined])
    })

    test('cannot be had later: no ephemeral container may mount it, whatever the annotation says by then', async () => {
      const path = await ground.store('vault', asking('web'), 'asks')
      const annotated = await ground.ask('PATCH', path, {
        metadata: { annotations: { 'portcullis.dev/credentials': 'web,debug' } },
      })
      expect(annotated.status).toBe(200)
      const mount = { name: 'portcullis-credentials', mountPath: '/run/portcullis-credentials' }
      const add = async (container: object) => {
        const { body } = await ground.ask('GET', path)
        const pod = body as { readonly spec: object }
        return ground.ask('PUT', `${path}/ephemeralcontainers`, {
          ...pod,
          spec: { ...pod.spec, ephemeralContainers: [{ name: 'debug', image: 'i', ...container }] },
        })
      }
      expect(messageOf(await add({ volumeMounts: [{ ...mount, readOnly: true }] }))).toMatch(
        /none may mount portcullis-credentials/,
      )
      expect((await add({})).status).toBe(200)
    })
  })

  test('accepts the roots of a rotation, in any order, and a resource that someone else tuned', async () => {
    const pod = injected()
    pod.spec.initContainers[0].env[5].value = NEXT_PEM + PEM
    pod.spec.initContainers[0].resources.limits.memory = '256Mi'
    pod.spec.initContainers[0].imagePullPolicy = 'Always'
    expect(await ground.create('vault', pod)).toMatchObject({ status: 201 })
  })

  test('judges the largest pods inside its budget, and a namespace of Pod Security level restricted takes the sidecar', async () => {
    await ground.namespace('strict', {
      [INJECT]: 'required',
      'pod-security.kubernetes.io/enforce': 'restricted',
    })
    const restricted = {
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    }
    const volumes = Array.from({ length: 60 }, (_, index) => ({ name: `v${index}`, emptyDir: {} }))
    const containers = Array.from({ length: 60 }, (_, index) => ({
      name: `c${index}`,
      image: 'i',
      env: volumes.map(({ name }) => ({ name: name.toUpperCase(), value: 'x'.repeat(100) })),
      volumeMounts: volumes.map(({ name }) => ({ name, mountPath: `/data/${name}` })),
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
    }))
    const large = injected(written({ ...restricted, volumes, containers }))
    await until('the namespace', async () => (await ground.create('strict', written())).status === 403)
    const { status, body } = await ground.create('strict', large)
    expect([status, body.message]).toEqual([201, undefined])
    large.spec.containers[59].volumeMounts.push({ name: 'portcullis-token', mountPath: '/t' })
    expect(messageOf(await ground.create('strict', large))).toMatch(/credential of the sidecar/)
  })

  describe('a pod outside', () => {
    test.each<[string, RegExp, object]>([
      [
        'a token of ours',
        /belongs to an injected sidecar/,
        { volumes: [projected('portcullis.dev/cluster.example')] },
      ],
      [
        'a container of our name',
        /the name "portcullis" is that of the sidecar/,
        { containers: [{ name: 'portcullis', image: 'i' }] },
      ],
      [
        'an init container of our name',
        /the name "portcullis"/,
        { initContainers: [{ name: 'portcullis', image: 'i' }] },
      ],
    ])('may not have %s', async (_name, said, spec) => {
      expect(messageOf(await ground.create('shop', written(spec, {})))).toMatch(said)
      expect(messageOf(await ground.create('open', written(spec, { [INJECT]: 'disabled' })))).toMatch(said)
    })
    test('may have a token for anyone else', async () => {
      const spec = { volumes: [projected('vault.example')] }
      expect(await ground.create('shop', written(spec, {}))).toMatchObject({ status: 201 })
    })
  })

  describe('a pod that runs', () => {
    test('cannot shed its label, change its sidecar, or be debugged into the sidecar', async () => {
      const path = await ground.store('shop', injected(), 'running')
      const labelOff = await ground.ask('PATCH', path, { metadata: { labels: { [INJECT]: 'disabled' } } })
      expect(messageOf(labelOff)).toMatch(/belongs to an injected sidecar/)
      const pod = (await ground.ask('GET', path)).body
      const swapped = structuredClone(pod)
      swapped.spec.initContainers[0].image = 'evil.example/x:1'
      expect(messageOf(await ground.ask('PUT', path, swapped))).toMatch(/\[0\]\.image/)
      const debug = (container: object) =>
        ground.ask('PUT', `${path}/ephemeralcontainers`, {
          ...pod,
          spec: { ...pod.spec, ephemeralContainers: [{ name: 'debug', image: 'i', ...container }] },
        })
      expect(messageOf(await debug({ targetContainerName: 'portcullis' }))).toMatch(/targetContainerName/)
      const mounts = (name: string) => ({ volumeMounts: [{ name, mountPath: '/t' }] })
      expect(messageOf(await debug(mounts('portcullis-token')))).toMatch(/credential of the sidecar/)
      expect(messageOf(await debug(mounts('portcullis-socket')))).toMatch(/read-only only/)
      expect(await debug({ targetContainerName: 'app' })).toMatchObject({ status: 200 })
    })

    test('goes on after its profile moved to another image', async () => {
      const path = await ground.store('shop', injected(), 'earlier')
      const image = IMAGE.replace('aaaa', 'cccc')
      await ground.ask('PATCH', `${OURS}/sidecarprofiles/default/status`, {
        status: { injection: { image } },
      })
      await until('the new image', async () => (await ground.create('shop', injected())).status === 403)
      const touched = await ground.ask('PATCH', path, { metadata: { finalizers: ['example.org/x'] } })
      expect(touched).toMatchObject({ status: 200 })
      const pod = (await ground.ask('GET', path)).body
      pod.spec.containers[0].image = 'app.example/app:2'
      expect(await ground.ask('PUT', path, pod)).toMatchObject({ status: 200 })
      const upgraded = (await ground.ask('GET', path)).body
      upgraded.spec.initContainers[0].image = image
      expect(await ground.ask('PUT', path, upgraded)).toMatchObject({ status: 200 })
      await ground.ask('PATCH', `${OURS}/sidecarprofiles/default/status`, {
        status: { injection: { image: IMAGE } },
      })
      await until('the old image', async () => (await ground.create('shop', injected())).status === 201)
    })

    test('without a sidecar can be finalised in a namespace that requires one since, but not labelled into having one', async () => {
      await ground.namespace('late')
      const path = await ground.store('late', written({}, {}), 'old')
      await ground.ask('PATCH', '/api/v1/namespaces/late', { metadata: { labels: { [INJECT]: 'required' } } })
      await until('the label', async () => (await ground.create('late', written({}, {}))).status === 403)
      expect(await ground.ask('PATCH', path, { metadata: { finalizers: ['example.org/x'] } })).toMatchObject({
        status: 200,
      })
      const labelledLater = await ground.ask('PATCH', path, { metadata: { labels: { [INJECT]: 'enabled' } } })
      expect(messageOf(labelledLater)).toMatch(/must be the sidecar/)
    })
  })
})

function labelled(labels: object): object {
  return { metadata: { name: 'app', labels } }
}
