import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHART, NAMESPACE, openHelm, VALUES } from '../chart/helm.ts'
import { type Api, apiUnavailable, openApi } from '../cluster-node/api.ts'
import { ROOT, tool } from '../cluster-node/tool.ts'
import { freePorts } from '../fixtures/free-ports.ts'

// Both programs of the operator against a real API server, with the rights that the chart gives them: enough, and never refused.

const missing = apiUnavailable()
const PROGRAMS = ['issuer', 'control'] as const

describe.skipIf(missing)(
  `the programs with the chart's rights${missing ? ` (NOT RUN: ${missing})` : ''}`,
  () => {
    let api: Api & AsyncDisposable
    const running: ChildProcess[] = []

    beforeAll(async () => {
      api = await openApi()
      using helm = await openHelm(api.kubeconfig)
      await api.kubectl(['create', 'namespace', NAMESPACE])
      expect(await helm('install', 'portcullis', CHART, '-n', NAMESPACE, '-f', VALUES)).toMatchObject({
        code: 0,
      })
      const ports = await freePorts(5)
      for (const program of PROGRAMS) running.push(await begin(api, program, ports))
    })
    afterAll(async () => {
      await Promise.all(running.map(ended))
      await api?.[Symbol.asyncDispose]()
    })

    test('make keys, certificates and a trust domain that issues', async () => {
      const ready = ['--for=condition=Ready', '--timeout=60s']
      await api.kubectl(['wait', ...ready, 'trustdomain/cluster.example', 'sidecarprofile/default'], {
        timeoutMs: 90_000,
      })
      const caBundle = '{.webhooks[*].clientConfig.caBundle}'
      const webhook = 'mutatingwebhookconfiguration/portcullis-inject'
      await api.kubectl(['wait', webhook, `--for=jsonpath=${caBundle.replace('*', '3')}`, '--timeout=50s'])
      const secrets = await api.kubectl([
        'get',
        'secrets',
        '-n',
        NAMESPACE,
        '-o',
        'name',
        '--field-selector=type=Opaque',
      ])
      expect(secrets.trim().split('\n').toSorted()).toEqual(
        ['bundle-keys', 'ca', 'jwt-keys', 'webhook-tls'].map((one) => `secret/portcullis-${one}`),
      )
      const bundles = await api.kubectl(['get', webhook, '-o', `jsonpath=${caBundle}`])
      expect(bundles.split(' ')).toHaveLength(4)
    })

    test('stop when they are told to, and were refused nothing meanwhile', async () => {
      await Promise.all(running.map(ended))
      expect(running.map(({ exitCode }) => exitCode)).toEqual([0, 0])
      expect(refused(api)).toEqual([])
      // The log would have said so.
      const as = `--as=system:serviceaccount:${NAMESPACE}:portcullis-control`
      await expect(api.kubectl(['get', 'secrets', '-n', NAMESPACE, as])).rejects.toThrow(/forbidden/)
      expect(refused(api)).toEqual(['portcullis-control list secrets'])
    })
  },
)

/** As its pod would run: a pod object, a token that is bound to it, the arguments of the chart on ports that are free. */
async function begin(api: Api, program: string, ports: readonly number[]): Promise<ChildProcess> {
  const account = `portcullis-${program}`
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${NAMESPACE}`]
  const { kubeconfig } = await api.user(`system:serviceaccount:${NAMESPACE}:${account}`, groups)
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: account, namespace: NAMESPACE },
    spec: {
      serviceAccountName: account,
      nodeName: 'nowhere',
      containers: [{ name: program, image: 'operator' }],
    },
  }
  const made = await api.kubectl(['create', '-o', 'json', '-f', '-'], { stdin: JSON.stringify(pod) })
  const { uid } = (JSON.parse(made) as { readonly metadata: { readonly uid: string } }).metadata
  const bound = ['--bound-object-kind=Pod', `--bound-object-name=${account}`, `--bound-object-uid=${uid}`]
  const audience = '--audience=portcullis.dev/cluster.example'
  const token = await api.kubectl(['create', 'token', account, '-n', NAMESPACE, audience, ...bound])
  const tokenFile = join(api.directory, `${program}.token`)
  writeFileSync(tokenFile, token.trim(), { mode: 0o600 })
  const [issuer, feed, webhook, one, other] = ports
  const options = {
    namespace: NAMESPACE,
    'trust-domain': 'cluster.example',
    issuer: `localhost:${issuer}`,
    'issuer-port': issuer,
    'feed-port': feed,
    'webhook-port': webhook,
    'admin-port': program === 'issuer' ? one : other,
    'token-file': tokenFile,
    opa: await tool('opa'),
    kubeconfig,
  }
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`)
  return spawn(process.execPath, [join(ROOT, 'operator/main.ts'), program, ...args], {
    env: { ...process.env, POD_NAME: account, POD_UID: uid, POD_IP: '127.0.0.1' },
    stdio: 'ignore',
  })
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const patience = setTimeout(() => child.kill('SIGKILL'), 15_000)
  await gone
  clearTimeout(patience)
}

interface Entry {
  readonly verb: string
  readonly user?: { readonly username?: string }
  readonly impersonatedUser?: { readonly username?: string }
  readonly objectRef?: { readonly resource?: string }
  readonly responseStatus?: { readonly code?: number }
}

/** Who was refused what, from the audit log; refusals of admission policies count too. */
function refused(api: Api): readonly string[] {
  return readFileSync(api.auditLog, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry)
    .filter(({ responseStatus }) => responseStatus?.code === 403)
    .map(({ user, impersonatedUser, verb, objectRef }) => {
      const name = (impersonatedUser ?? user)?.username?.split(':').at(-1)
      return `${name} ${verb} ${objectRef?.resource}`
    })
    .filter((text) => text.startsWith('portcullis-'))
}
