import { randomBytes } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseAccessPolicy } from '../../contracts/crd/access-policy.ts'
import { parseTime } from '../../contracts/time.ts'
import { createCertificateMaker } from '../../operator/identity/serving.ts'
import { type Certificates, createCertificates } from '../../operator/inject/certificates.ts'
import { injectionOf } from '../../operator/inject/sidecar.ts'
import { openWebhook, type RunningWebhook } from '../../operator/inject/webhook.ts'
import { apiUnavailable } from '../cluster-node/api.ts'
import { notRun } from '../cluster-node/not-run.ts'
import {
  type Ground,
  type Manifest,
  messageOf,
  OURS,
  openGround,
  rendered,
  until,
} from '../operator/inject/ground.ts'
import { FACTS, IMAGE, injected, profile, written } from '../operator/inject/pods.ts'
import { secretStore, webhookHooks } from '../operator/inject/stores.ts'

// The real webhook called by a real API server, with certificates that it makes, applies and rotates itself; the guard behind it.

const INJECT = 'portcullis.dev/inject'
const DAY = 86_400_000
const signal = new AbortController().signal
const SYSTEM = 'portcullis-system'
const maker = createCertificateMaker(randomBytes)

describe.skipIf(notRun('cluster', 'test/cluster/inject-webhook.test.ts', apiUnavailable()))(
  'the webhook',
  () => {
    let ground: Ground
    let webhook: RunningWebhook
    let certificates: Certificates
    let manifests: readonly Manifest[]
    const steps: string[] = []
    // The first authority was made two months ago, so that a rotation is due today.
    let at = Date.now() - 61 * DAY

    beforeAll(async () => {
      ground = await openGround(({ kind }) => kind.startsWith('ValidatingAdmissionPolicy'))
      const { ask } = ground
      const started = await maker.makeCa('before the first pass', {
        notBeforeMs: at,
        notAfterMs: at + 90 * DAY,
      })
      webhook = await openWebhook({ host: '127.0.0.1', port: 0 }, started, {
        injected: () => profile(),
        facts: () => FACTS,
        policies: () => {
          const other = parseAccessPolicy({ apiVersion: API_VERSION, ...policy('other', 'billing') })
          return other.ok ? [other.value] : []
        },
        keys: () => undefined,
        profile: 'default',
        now: Date.now,
        momentOf: parseTime,
        monotonic: () => performance.now(),
        sleep: (ms, signal) => setTimeout(ms, undefined, { signal, ref: false }),
        report: () => undefined,
        observe: () => undefined,
      })
      for (const [name, labels] of [
        [SYSTEM, {}],
        ['shop', {}],
        ['open', { [INJECT]: 'enabled' }],
        ['vault', { [INJECT]: 'required' }],
      ] as const)
        await ground.namespace(name, labels)
      await ask('POST', `${OURS}/sidecarprofiles`, {
        apiVersion: API_VERSION,
        kind: 'SidecarProfile',
        metadata: { name: 'default' },
        spec: { image: IMAGE },
      })
      await ask('PATCH', `${OURS}/sidecarprofiles/default/status`, {
        status: { injection: injectionOf(profile(), FACTS) },
      })
      manifests = (await rendered()).filter(({ webhooks }) => webhooks).map(onLoopback)
      certificates = createCertificates({
        maker,
        dnsNames: ['localhost'],
        now: () => at,
        report: (_event, facts) => steps.push(String(facts?.['step'])),
        store: secretStore(ask, SYSTEM),
        hooks: webhookHooks(ask),
        serve: (pair) => webhook.serve(pair),
        notAfter: () => undefined,
      })
      await until('the guard', async () => (await ground.create('vault', written())).status === 403)
      await until('the profile', async () => (await ground.create('vault', injected())).status === 201)
    })
    afterAll(async () => {
      await webhook?.[Symbol.asyncDispose]()
      await ground?.[Symbol.asyncDispose]()
    })

    test('before the operator has made certificates, whoever asks for a sidecar waits, and nobody else', async () => {
      await certificates.pass(false, signal)
      expect(certificates.notReadyBecause()).toMatch(/no certificate yet/)
      await ground.apply(manifests)
      await until('the configuration', async () =>
        /failed calling webhook/.test(messageOf(await ground.create('shop', written()))),
      )
      expect(await ground.create('shop', written({}, {}))).toMatchObject({ status: 201 })
      expect(await ground.create('open', written({}, { [INJECT]: 'disabled' }))).toMatchObject({
        status: 201,
      })
    })

    test('the operator makes a CA and a leaf, applies the caBundle, and is called', async () => {
      await certificates.pass(true, signal)
      at = Date.now() - 3_700_000
      for (let pass = 0; pass < 3; pass += 1) await certificates.pass(true, signal)
      expect(steps).toEqual(['begin', 'prepare', 'renew'])
      await until('the webhook', async () => (await ground.create('shop', written())).status === 201)
      at = Date.now()
      expect(certificates.notReadyBecause()).toBeUndefined()
    })

    test.each<[string, object]>([
      ['shop', { [INJECT]: 'enabled' }],
      ['open', {}],
      ['open', { [INJECT]: 'enabled' }],
      ['vault', {}],
      ['vault', { [INJECT]: 'disabled' }],
    ])('a pod in %s with labels %j has the sidecar, and the guard lets it in', async (namespace, labels) => {
      const init = { initContainers: [{ name: 'first', image: 'i' }] }
      const { status, body } = await ground.create(namespace, written(init, labels))
      expect([status, body.message]).toEqual([201, undefined])
      expect(body.metadata.annotations['portcullis.dev/injected']).toMatch(/^default@[0-9a-f]{16}$/)
      const [sidecar, first] = body.spec.initContainers
      expect([sidecar.name, first.name]).toEqual(['portcullis', 'first'])
      const mounts = sidecar.volumeMounts.map(({ name }: { readonly name: string }) => name)
      // The application's own token is not mounted into the sidecar.
      expect(mounts).toEqual([
        'portcullis-socket',
        'portcullis-spiffe',
        'portcullis-token',
        'portcullis-token',
      ])
      expect(JSON.stringify(body.spec.containers[0].volumeMounts)).toMatch(/kube-api-access/)
    })

    test('a pod that declines where its namespace asks is told so in an annotation and a warning', async () => {
      const { body, headers } = await ground.create('open', written({}, { [INJECT]: 'disabled' }))
      expect(body.metadata.annotations['portcullis.dev/inject-skipped']).toMatch(/the pod is labelled/)
      expect(headers['warning']).toMatch(/no sidecar, because the pod is labelled/)
    })

    test('a pod that nobody asked for is not even looked at', async () => {
      const { body } = await ground.create('shop', written({}, {}))
      expect(body.metadata.annotations).toBeUndefined()
    })

    test('a conflict is refused with object, field, reason and remedy', async () => {
      const { status, body } = await ground.create('shop', written({ hostNetwork: true }))
      expect(status).toBe(422)
      expect(body.message).toMatch(/Pod shop\/app: spec\.hostNetwork: .*take hostNetwork away/)
    })

    test('a container that a later webhook adds has its mounts after reinvocation', async () => {
      await using _ = await laterWebhook()
      await until('the later webhook', async () => {
        const { body } = await ground.create('shop', written())
        return body.spec?.containers?.length === 2
      })
      const { body } = await ground.create('shop', written())
      const late = body.spec.containers[1]
      expect(late.name).toBe('late')
      expect(JSON.stringify(late.volumeMounts)).toMatch(/portcullis-socket.*portcullis-spiffe/)
      expect(body.spec.initContainers).toHaveLength(1)
    })

    test('resources are linted: a refusal and a warning', async () => {
      const inline = JSON.stringify({ keys: [{ kty: 'oct', k: 'c2VjcmV0', kid: 'a' }] })
      const refused = await ground.ask('POST', `${OURS}/namespaces/shop/tokenissuers`, {
        apiVersion: API_VERSION,
        kind: 'TokenIssuer',
        metadata: { name: 'idp' },
        spec: {
          issuer: 'https://i.example',
          jwks: { inline },
          algorithms: ['ES256'],
          tenant: { type: 'Fixed', fixed: 'a' },
        },
      })
      expect(messageOf(refused)).toMatch(
        /TokenIssuer shop\/idp: spec\.jwks\.inline: publishes a symmetric key; withdraw it/,
      )
      const path = `${OURS}/namespaces/shop/accesspolicies?dryRun=All`
      const warned = await ground.ask('POST', path, { apiVersion: API_VERSION, ...policy('mine', 'billing') })
      expect([warned.status, warned.headers['warning']]).toEqual([
        201,
        expect.stringMatching(/also that of AccessPolicy shop\/other/),
      ])
    })

    test('an authority is replaced under traffic, and no pod is refused', async () => {
      const answers: string[] = []
      const done = new AbortController()
      const traffic = (async () => {
        while (!done.signal.aborted) answers.push(messageOf(await ground.create('shop', written())))
      })()
      const twentyMore = async () => {
        const enough = answers.length + 20
        await until('twenty more pods', async () => answers.length >= enough)
      }
      await twentyMore()
      await certificates.pass(true, signal)
      await certificates.pass(true, signal)
      await twentyMore()
      done.abort()
      await traffic
      expect(steps).toContain('activate')
      expect(new Set(answers)).toEqual(new Set(['']))
      expect(certificates.notReadyBecause()).toBeUndefined()
    })

    test('an upgrade of the chart does not take the caBundle away', async () => {
      await ground.apply(manifests)
      await certificates.pass(false, signal)
      expect(certificates.notReadyBecause()).toBeUndefined()
      expect(await ground.create('shop', written())).toMatchObject({ status: 201 })
    })

    test('with the operator down, and then with the configuration deleted, a pod that asks is refused', async () => {
      await webhook[Symbol.asyncDispose]()
      await until('the end', async () => (await ground.create('shop', written())).status === 500)
      expect(messageOf(await ground.create('vault', written({}, {})))).toMatch(/failed calling webhook/)
      expect(await ground.create('open', written({}, { [INJECT]: 'disabled' }))).toMatchObject({
        status: 201,
      })
      const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/portcullis-inject'
      await ground.ask('DELETE', path)
      await until('the deletion', async () => (await ground.create('shop', written())).status === 403)
      expect(messageOf(await ground.create('vault', written({}, {})))).toMatch(
        /spec\.initContainers\[0\]: must be the sidecar/,
      )
      expect(await ground.create('shop', injected())).toMatchObject({ status: 201 })
    })

    function onLoopback(manifest: Manifest): Manifest {
      return {
        ...manifest,
        webhooks: (manifest.webhooks ?? []).map(({ clientConfig, ...rest }) => ({
          ...rest,
          clientConfig: { url: `https://localhost:${webhook.port}${clientConfig.service.path}` },
        })),
      }
    }

    /** Someone else's injector, called after ours: adds a container to every pod of namespace shop. */
    async function laterWebhook(): Promise<AsyncDisposable> {
      const validity = { notBeforeMs: Date.now() - DAY, notAfterMs: Date.now() + DAY }
      const ca = await maker.makeCa('later', validity)
      const { certificate: cert, key } = await maker.makeLeaf(ca, ['localhost'], validity)
      const server = createServer({ cert, key }, async (request, response) => {
        const chunks: Buffer[] = []
        for await (const chunk of request) chunks.push(chunk)
        const { request: asked } = JSON.parse(Buffer.concat(chunks).toString())
        const add = { op: 'add', path: '/spec/containers/-', value: { name: 'late', image: 'i' } }
        const has = asked.object.spec.containers.length > 1
        const patch = Buffer.from(JSON.stringify(has ? [] : [add])).toString('base64')
        response.setHeader('content-type', 'application/json')
        const answer = { uid: asked.uid, allowed: true, patchType: 'JSONPatch', patch }
        response.end(
          JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: answer }),
        )
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const { port } = server.address() as AddressInfo
      const path = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations'
      await ground.ask('POST', path, {
        metadata: { name: 'zz-later' },
        webhooks: [
          {
            name: 'later.example.org',
            clientConfig: {
              url: `https://localhost:${port}/`,
              caBundle: Buffer.from(ca.certificate).toString('base64'),
            },
            rules: [{ apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }],
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } },
            admissionReviewVersions: ['v1'],
            sideEffects: 'None',
          },
        ],
      })
      return {
        [Symbol.asyncDispose]: async () => {
          await ground.ask('DELETE', `${path}/zz-later`)
          await until(
            'its end',
            async () => (await ground.create('shop', written())).body.spec?.containers?.length === 1,
          )
          server.closeAllConnections()
          server.close()
        },
      }
    }
  },
)

const API_VERSION = 'portcullis.dev/v1alpha1'

function policy(name: string, audience: string) {
  return {
    kind: 'AccessPolicy',
    metadata: { name, namespace: 'shop' },
    spec: { audience, issuers: [{ name: 'idp' }], bundle: { name: 'rules' } },
  }
}
