import { request } from 'node:https'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Pair } from '../../../operator/inject/certificate-plan.ts'
import { openWebhook, type RunningWebhook, type WebhookNeeds } from '../../../operator/inject/webhook.ts'
import { maker } from './maker.ts'
import { FACTS, patched, profile, written } from './pods.ts'

// The HTTPS server by itself: what it answers to an API server, and what it does not let others do.

let webhook: RunningWebhook
let ca: Pair
const observed: (readonly [string, number])[] = []
const reported: string[] = []
let profiles: () => ReturnType<typeof profile> | undefined = () => profile()

const needs: WebhookNeeds = {
  injected: () => profiles(),
  facts: () => FACTS,
  policies: () => [],
  keys: () => undefined,
  profile: 'default',
  now: Date.now,
  momentOf: () => undefined,
  monotonic: () => performance.now(),
  sleep: (ms, signal) => setTimeout(ms, undefined, { signal, ref: false }),
  report: (event) => reported.push(event),
  observe: (path, status) => observed.push([path, status]),
}

const valid = () => ({ notBeforeMs: Date.now() - 60_000, notAfterMs: Date.now() + 3_600_000 })

beforeAll(async () => {
  ca = await maker.makeCa('test', valid())
  const pair = await maker.makeLeaf(ca, ['localhost'], valid())
  webhook = await openWebhook({ host: '127.0.0.1', port: 0 }, pair, needs)
})
afterAll(() => webhook[Symbol.asyncDispose]())

interface Sent {
  readonly method?: string
  readonly type?: string
  readonly length?: number
  readonly root?: string
}

function send(path: string, body: string | Buffer, { method = 'POST', type, length, root }: Sent = {}) {
  return new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const headers = {
      'content-type': type ?? 'application/json',
      ...(length === undefined ? {} : { 'content-length': length }),
    }
    const options = {
      host: 'localhost',
      port: webhook.port,
      path,
      method,
      headers,
      ca: root ?? ca.certificate,
    }
    const sent = request({ ...options, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function review(object: object, more: object = {}): string {
  const kind = { group: '', version: 'v1', kind: 'Pod' }
  const asked = { uid: 'u1', kind, operation: 'CREATE', namespace: 'shop', name: '', object, ...more }
  return JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request: asked })
}

test('a pod comes back with the sidecar, as a JSON Patch', async () => {
  const { status, text } = await send('/inject/pod', review(written()))
  expect(status).toBe(200)
  const { response } = JSON.parse(text)
  expect(response).toMatchObject({ uid: 'u1', allowed: true, patchType: 'JSONPatch' })
  const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString())
  // biome-ignore lint/suspicious/noExplicitAny: a pod
  const pod: any = patched(written(), patch)
  expect(pod.spec.initContainers[0].name).toBe('portcullis')
})

test('an injected pod comes back without a patch', async () => {
  const first = JSON.parse((await send('/inject/pod', review(written()))).text)
  const pod = patched(written(), JSON.parse(Buffer.from(first.response.patch, 'base64').toString()))
  const { response } = JSON.parse((await send('/inject/pod', review(pod))).text)
  expect(response).toEqual({ uid: 'u1', allowed: true })
})

test('a refusal names the object and every problem', async () => {
  const pod = written({ hostNetwork: true }, {}, { name: undefined, generateName: 'app-' })
  const { response } = JSON.parse((await send('/inject/required', review(pod))).text)
  expect(response).toMatchObject({ uid: 'u1', allowed: false, status: { code: 422 } })
  expect(response.status.message).toMatch(/^Pod shop\/app-\*: spec\.hostNetwork: /)
  expect(reported).toContain('admission_refused')
})

test('a pod that declines is told why in an annotation and a warning', async () => {
  const pod = written({}, { 'portcullis.dev/inject': 'disabled' })
  const { response } = JSON.parse((await send('/inject/skipped', review(pod))).text)
  expect(response.warnings).toEqual([expect.stringMatching(/no sidecar, because the pod is labelled/)])
  expect(Buffer.from(response.patch, 'base64').toString()).toMatch(/inject-skipped/)
})

test.each<[string, string, string | Buffer, Sent, number]>([
  ['another path', '/other', '{}', {}, 404],
  ['a name from the prototype', '/constructor', '{}', {}, 404],
  ['another method', '/validate', '', { method: 'GET' }, 405],
  ['another type', '/validate', '{}', { type: 'text/plain' }, 415],
  ['no JSON', '/validate', '{', {}, 400],
  ['no UTF-8', '/validate', Buffer.from([0x22, 0xff, 0x22]), {}, 400],
  [
    'another version',
    '/validate',
    '{"apiVersion":"admission.k8s.io/v1beta1","request":{"uid":"u"}}',
    {},
    400,
  ],
  ['no request', '/validate', '{"apiVersion":"admission.k8s.io/v1"}', {}, 400],
  ['too large a body', '/validate', Buffer.alloc(7 * 1024 * 1024, 0x20), {}, 413],
])('%s is answered and nothing else happens', async (...row) => {
  const [, path, body, how, status] = row
  expect(await send(path, body, how)).toMatchObject({ status })
  expect(observed.at(-1)?.[1]).toBe(status)
})

test('what breaks inside is a 500 that says nothing, which the API server takes for a refusal', async () => {
  profiles = () => {
    throw new Error('inner matter')
  }
  const { status, text } = await send('/inject/pod', review(written()))
  profiles = () => profile()
  expect(status).toBe(500)
  expect(text).not.toMatch(/inner/)
  expect(reported).toContain('admission_failed')
})

test('a new certificate is served to the next handshake', async () => {
  const other = await maker.makeCa('other', valid())
  await expect(send('/validate', '{', { root: other.certificate })).rejects.toThrow()
  webhook.serve(await maker.makeLeaf(other, ['localhost'], valid()))
  expect(await send('/validate', '{', { root: other.certificate })).toMatchObject({ status: 400 })
  webhook.serve(await maker.makeLeaf(ca, ['localhost'], valid()))
})

test('a pair that does not fit is refused and the old one goes on', async () => {
  expect(() => webhook.serve({ certificate: 'x', key: 'y' })).toThrow()
  expect(await send('/validate', '{')).toMatchObject({ status: 400 })
})

test('more requests at once than it takes are turned away, and it recovers', async () => {
  const stalled = Array.from({ length: 128 }, () => {
    const options = {
      host: 'localhost',
      port: webhook.port,
      path: '/validate',
      method: 'POST',
      ca: ca.certificate,
    }
    const headers = { 'content-type': 'application/json', 'content-length': 10 }
    const sent = request({ ...options, headers, agent: false })
    sent.on('error', () => undefined)
    sent.write('{')
    return sent
  })
  while (webhook.inFlight() < 128) await setTimeout(10)
  expect(await send('/inject/pod', review(written()))).toMatchObject({ status: 503 })
  for (const sent of stalled) sent.destroy()
  while (webhook.inFlight() > 0) await setTimeout(10)
  expect(await send('/inject/pod', review(written()))).toMatchObject({ status: 200 })
})
