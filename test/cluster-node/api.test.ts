import { readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Api, apiUnavailable, openApi } from './api.ts'
import { notRun } from './not-run.ts'

const reason = notRun('cluster', 'test/cluster-node/api.test.ts', apiUnavailable())

describe.skipIf(reason)('kube-apiserver and etcd alone', () => {
  let api: Api & AsyncDisposable

  beforeAll(async () => {
    api = await openApi()
  }, 900_000)
  afterAll(() => api?.[Symbol.asyncDispose]())

  test('RBAC decides what a user may do, whatever characters its name has', async () => {
    const eve = await api.user('eve/of+acme', ['guests/all'])
    const who = JSON.parse(
      await api.kubectl(['--kubeconfig', eve.kubeconfig, 'auth', 'whoami', '-o', 'json']),
    ) as { readonly status: { readonly userInfo: { readonly username: string; readonly groups: string[] } } }
    expect(who.status.userInfo.username).toBe('eve/of+acme')
    expect(who.status.userInfo.groups).toContain('guests/all')
    const reading = ['--kubeconfig', eve.kubeconfig, 'get', 'secrets']
    await expect(api.kubectl(reading)).rejects.toThrow('cannot list resource "secrets"')
    await api.kubectl([
      'create',
      'clusterrolebinding',
      'guests',
      '--clusterrole=cluster-admin',
      '--group=guests/all',
    ])
    await expect.poll(() => api.kubectl(reading).catch(() => 'not yet')).toBe('')
  })

  test('a token of TokenRequest is good in TokenReview for its audience alone', async () => {
    await api.kubectl(['create', 'serviceaccount', 'probe'])
    const token = (await api.kubectl(['create', 'token', 'probe', '--audience=portcullis.test'])).trim()
    expect(await review(api, token, 'portcullis.test')).toMatchObject({ authenticated: true })
    expect(await review(api, token, 'other.test')).not.toHaveProperty('authenticated')
  })

  test('a bearer kubeconfig acts as the service account', async () => {
    await api.kubectl(['create', 'serviceaccount', 'bearer'])
    const kubeconfig = api.bearer('bearer', (await api.kubectl(['create', 'token', 'bearer'])).trim())
    const who = await api.kubectl(['--kubeconfig', kubeconfig, 'auth', 'whoami'])
    expect(who).toContain('system:serviceaccount:default:bearer')
  })

  test('objects outlive a stop and a kill of both programs', async () => {
    await api.kubectl(['create', 'configmap', 'kept', '--from-literal=a=1'])
    await api.stop()
    await expect(api.kubectl(['get', 'configmap', 'kept'])).rejects.toThrow('refused')
    await api.start()
    expect(await api.kubectl(['get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}'])).toBe('1')
    await api.kill()
    await api.start()
    expect(await api.kubectl(['get', 'configmap', 'kept', '-o', 'jsonpath={.data.a}'])).toBe('1')
  })

  test('paused, it holds its connections and answers nothing; resumed, it goes on', async () => {
    api.pause('apiserver')
    await expect(api.kubectl(['get', 'ns'], { timeoutMs: 500 })).rejects.toThrow('SIGKILL')
    api.resume('apiserver')
    expect(await api.kubectl(['get', 'ns', '-o', 'name'])).toContain('namespace/default')
  })

  test('who did what is in the audit log, without bodies', async () => {
    await api.kubectl(['create', 'secret', 'generic', 'hidden', '--from-literal=a=ThisIsTheSecret'])
    const log = readFileSync(api.auditLog, 'utf8')
    expect(log).toMatch(/"verb":"create".*"resource":"secrets".*"name":"hidden"/)
    expect(log).not.toContain(Buffer.from('ThisIsTheSecret').toString('base64'))
  })

  test('two at once do not meet, and disposing leaves no file', async () => {
    const other = await openApi()
    try {
      await other.kubectl(['create', 'configmap', 'only-here'])
      await expect(api.kubectl(['get', 'configmap', 'only-here'])).rejects.toThrow('not found')
    } finally {
      await other[Symbol.asyncDispose]()
    }
    const left = readdirSync(tmpdir()).map((name) => `${tmpdir()}/${name}`)
    expect(left).toContain(api.directory)
    expect(left).not.toContain(other.directory)
  })
})

async function review(api: Api, token: string, audience: string): Promise<unknown> {
  const stdin = JSON.stringify({
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [audience] },
  })
  const answer = await api.kubectl(['create', '-o', 'json', '-f', '-'], { stdin })
  return (JSON.parse(answer) as { readonly status: unknown }).status
}
