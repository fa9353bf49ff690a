import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { RESOURCES } from '../../contracts/crd.ts'
import {
  CHART,
  type Helm,
  hookOf,
  type Manifest,
  NAMESPACE,
  named,
  openHelm,
  rendered,
  run,
  VALUES,
} from '../chart/helm.ts'
import { complete, runAs } from '../chart/job.ts'
import { writeSchemas } from '../chart/openapi.ts'
import { type Api, apiUnavailable, openApi } from '../cluster-node/api.ts'
import { tool } from '../cluster-node/tool.ts'

// The chart and a real API server, by the real Helm. No controllers run, so a test plays the one that runs Jobs.

const missing = apiUnavailable()

describe.skipIf(missing)(`the chart in an API server${missing ? ` (NOT RUN: ${missing})` : ''}`, () => {
  let api: Api & AsyncDisposable
  let helm: Helm & Disposable
  let directory: string

  beforeAll(async () => {
    api = await openApi()
    helm = await openHelm(api.kubeconfig)
    directory = mkdtempSync(join(tmpdir(), 'portcullis-chart-'))
    await api.kubectl(['create', 'namespace', NAMESPACE])
    await api.kubectl(['label', 'namespace', NAMESPACE, 'pod-security.kubernetes.io/enforce=restricted'])
  })
  afterAll(async () => {
    helm?.[Symbol.dispose]()
    await api?.[Symbol.asyncDispose]()
    if (directory) rmSync(directory, { recursive: true, force: true })
  })

  const ours = (verb: string, ...more: readonly string[]) =>
    helm(verb, 'portcullis', CHART, '-n', NAMESPACE, '-f', VALUES, ...more)
  const get = async (...what: readonly string[]): Promise<Manifest> =>
    JSON.parse(await api.kubectl(['get', ...what, '-o', 'json']))
  const namesOf = async (kind: string): Promise<readonly string[]> =>
    (await get(kind)).items.map(({ metadata }: Manifest) => metadata.name)
  const admission = async () =>
    (
      await Promise.all(
        [
          'mutatingwebhookconfigurations',
          'validatingwebhookconfigurations',
          'validatingadmissionpolicies',
          'validatingadmissionpolicybindings',
        ].map(namesOf),
      )
    )
      .flat()
      .filter((name) => name.startsWith('portcullis'))

  let before: string

  test('one helm install into an empty cluster makes the CRDs and objects of them', async () => {
    expect(await namesOf('customresourcedefinitions')).toEqual([])
    const said = await ours('install')
    // Not that it says nothing: under load Helm's library reports watches that ended.
    expect(said, said.err).toMatchObject({ code: 0 })
    expect(said.out).toContain('kubectl label namespace NAMESPACE portcullis.dev/inject=enabled')
    expect(await namesOf('customresourcedefinitions')).toEqual(
      Object.values(RESOURCES)
        .map(({ plural }) => `${plural}.portcullis.dev`)
        .toSorted(),
    )
    expect((await get('trustdomain', 'cluster.example')).spec.bundle).toEqual({ refreshHint: '5m' })
    const profile = await get('sidecarprofile', 'default')
    expect(profile.spec.leases).toEqual({ strict: '5s', standard: '60s', readDegraded: '15m' })
    before = profile.metadata.uid
  })

  test('every manifest is as the API server describes it, with no member that it does not know', async () => {
    const kubeconform = await tool('kubeconform')
    const all = await rendered()
    const versions = [...new Set(all.map(({ apiVersion }): string => apiVersion))]
    const location = await writeSchemas(api, versions, directory)
    const check = async (manifests: readonly Manifest[]) => {
      const file = join(directory, 'all.yaml')
      writeFileSync(file, manifests.map((one) => stringify(one, { version: '1.1' })).join('---\n'))
      return run(kubeconform, ['-strict', '-summary', '-schema-location', location, file])
    }
    const said = await check(all)
    expect(said.out).toContain(`${all.length} resources found`)
    expect(said.out).toContain(`Valid: ${all.length}, Invalid: 0, Errors: 0, Skipped: 0`)
    const slip = structuredClone(named(all, 'Deployment', 'portcullis-issuer'))
    slip.spec.template.spec.containers[0].readynessProbe = {}
    expect((await check([slip])).out).toContain('Invalid: 1')
  })

  describe('the API server understands the rights as they are meant', () => {
    const may = async (who: string, ...what: readonly string[]) => {
      const as = `--as=system:serviceaccount:${NAMESPACE}:portcullis-${who}`
      // "no" is exit code 1; anything else that is wrong has another one.
      return api.kubectl(['auth', 'can-i', ...what, as]).then(
        (said) => said.trim(),
        (refused: unknown) => (/ ended with 1: /.test(String(refused)) ? 'no' : String(refused)),
      )
    }
    test.each([
      ['control', ['list', 'secrets', '-A'], 'no'],
      ['control', ['get', 'secrets/portcullis-ca', '-n', NAMESPACE], 'no'],
      ['control', ['get', 'secrets/portcullis-webhook-tls', '-n', NAMESPACE], 'yes'],
      ['control', ['list', 'secrets', '-n', NAMESPACE], 'no'],
      ['control', ['list', 'configmaps', '-A'], 'no'],
      ['control', ['watch', 'pods', '-A'], 'yes'],
      ['control', ['create', 'tokenreviews.authentication.k8s.io'], 'no'],
      ['control', ['patch', 'accesspolicies.portcullis.dev', '--subresource=status', '-A'], 'yes'],
      ['control', ['patch', 'accesspolicies.portcullis.dev', '-A'], 'no'],
      ['control', ['patch', 'mutatingwebhookconfigurations/portcullis-inject'], 'yes'],
      ['control', ['patch', 'mutatingwebhookconfigurations/someone-elses'], 'no'],
      ['control', ['create', 'pods', '-A'], 'no'],
      ['issuer', ['get', 'secrets/portcullis-ca', '-n', NAMESPACE], 'yes'],
      ['issuer', ['get', 'secrets/portcullis-webhook-tls', '-n', NAMESPACE], 'no'],
      ['issuer', ['list', 'secrets', '-n', NAMESPACE], 'no'],
      ['issuer', ['create', 'tokenreviews.authentication.k8s.io'], 'yes'],
      ['issuer', ['get', 'accesspolicies.portcullis.dev', '-A'], 'no'],
      ['issuer', ['patch', 'sidecarprofiles.portcullis.dev', '--subresource=status'], 'no'],
    ] as const)('%s %j: %s', async (who, what, answer) => {
      expect(await may(who, ...what)).toBe(answer)
    })
  })

  test.each([
    ['control', 'portcullis-trust-bundle', 'refused'],
    ['control', 'portcullis-pin-1', 'refused'],
    ['control', 'portcullis-generations', 'stored'],
    ['control', 'kube-root-ca.crt', 'refused'],
    ['issuer', 'portcullis-generations', 'refused'],
    ['issuer', 'portcullis-trust-bundle', 'stored'],
  ])('%s writing ConfigMap %s: %s', async (who, name, outcome) => {
    const as = `--as=system:serviceaccount:${NAMESPACE}:portcullis-${who}`
    const write = () =>
      api
        .kubectl(['create', 'configmap', name, '-n', NAMESPACE, '--from-literal=a=b', '--dry-run=server', as])
        .then(
          () => 'stored',
          (cause: unknown) =>
            /belongs to the other program/.test(String(cause)) ? 'refused' : String(cause),
        )
    // A policy takes a moment until the API server goes by it.
    for (let tries = 0; tries < 50 && (await write()) !== outcome; tries += 1) await delay(200)
    expect(await write()).toBe(outcome)
  })

  test('Pod Security admission has nothing against our own pods, and admission nothing against their start', async () => {
    const all = await rendered()
    const pods = all.flatMap(({ kind, spec, metadata: { name } }) =>
      kind === 'Deployment' || kind === 'Job' ? [{ name, template: spec.template }] : [],
    )
    expect(pods.map(({ name }) => name)).toEqual([
      'portcullis-control',
      'portcullis-issuer',
      'portcullis-cleanup',
    ])
    await api.kubectl(['create', 'serviceaccount', 'portcullis-cleanup', '-n', NAMESPACE])
    for (const { name, template } of pods) {
      const metadata = { ...template.metadata, name: `${name}-0`, namespace: NAMESPACE }
      const pod = JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: template.spec })
      expect(await api.kubectl(['create', '--dry-run=server', '-f', '-'], { stdin: pod })).toContain(
        'created',
      )
    }
    await api.kubectl(['delete', 'serviceaccount', 'portcullis-cleanup', '-n', NAMESPACE])
  })

  test('helm test prepares with the rights that it has, and its pod is held back while nobody injects', async () => {
    const where = 'portcullis-helm-test'
    const tests = (await rendered()).filter((one) => hookOf(one) === 'test')
    const pods = tests.filter(({ kind }) => kind === 'Pod')
    const apply = (some: readonly Manifest[]) =>
      api.kubectl(['apply', '--server-side', '-f', '-'], {
        stdin: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: some }),
      })
    await apply(tests.filter(({ kind }) => kind === 'Namespace'))
    await apply(tests.filter(({ kind }) => kind !== 'Namespace' && kind !== 'Pod'))
    const prepare = pods.filter(({ metadata: { name } }) => name === 'prepare')
    await apply(prepare)
    for (const time of ['first', 'second']) {
      const said = await runAs(api, `${where}:prepare`, prepare[0].spec.containers[0].args)
      expect(said, `${time}: ${said.err}`).toMatchObject({ code: 0 })
    }
    const { inline } = (await get('tokenissuer', 'helm-test', '-n', where)).spec.jwks
    expect(Object.keys(JSON.parse(inline).keys[0])).not.toContain('d')
    const secret = await get('secret', 'helm-test-tokens', '-n', where)
    expect(Object.keys(JSON.parse(Buffer.from(secret.data['tokens.json'], 'base64').toString()))).toEqual([
      'good',
      'bad',
    ])
    await expect(apply(pods.filter(({ metadata: { name } }) => name === 'ask'))).rejects.toThrow(
      /required|portcullis/,
    )
  })

  test('an upgrade changes schemas and defaults in place, deletes nothing and forgets no status', async () => {
    const crd = 'customresourcedefinition/tokenissuers.portcullis.dev'
    const { uid } = (await get(crd)).metadata
    const status = JSON.stringify({ status: { pods: { injected: 1, missing: 0, outdated: 0 } } })
    await api.kubectl([
      'patch',
      'sidecarprofile',
      'default',
      '--subresource=status',
      '--type=merge',
      '-p',
      status,
    ])
    const earlier = join(directory, 'earlier')
    cpSync(CHART, earlier, { recursive: true })
    const file = join(earlier, 'templates/crds/tokenissuers.yaml')
    writeFileSync(file, readFileSync(file, 'utf8').replace('- tiss', '- old'))
    expect(await helm('upgrade', 'portcullis', earlier, '-n', NAMESPACE, '-f', VALUES)).toMatchObject({
      code: 0,
    })
    expect((await get(crd)).spec.names.shortNames).toEqual(['old'])
    const said = await ours('upgrade', '--set', 'trust.refreshHint=7m')
    expect(said, said.err).toMatchObject({ code: 0 })
    const after = await get(crd)
    expect([after.metadata.uid, after.spec.names.shortNames]).toEqual([uid, ['tiss']])
    expect((await get('trustdomain', 'cluster.example')).spec.bundle).toEqual({ refreshHint: '7m' })
    const profile = await get('sidecarprofile', 'default')
    expect([profile.metadata.uid, profile.status.pods.injected]).toEqual([before, 1])
  })

  test('an upgrade that changes what somebody else has set says whose it is', async () => {
    const someone = (spec: object) =>
      api.kubectl(['apply', '--server-side', '--force-conflicts', '--field-manager=someone', '-f', '-'], {
        stdin: JSON.stringify({
          apiVersion: 'portcullis.dev/v1alpha1',
          kind: 'SidecarProfile',
          metadata: { name: 'default' },
          spec,
        }),
      })
    await someone({ decisionLog: 'Off' })
    const said = await ours('upgrade')
    expect(said.code).toBe(1)
    expect(said.err).toMatch(/conflict with \\?"someone[^\n]*decisionLog/)
    await someone({})
    expect(await ours('upgrade')).toMatchObject({ code: 0 })
  })

  test('an uninstall takes admission away and leaves schemas and what was made with them', async () => {
    expect((await admission()).length).toBeGreaterThan(10)
    const uninstall = helm('uninstall', 'portcullis', '-n', NAMESPACE)
    await api.kubectl(['wait', '--for=create', 'job/portcullis-cleanup', '-n', NAMESPACE, '--timeout=30s'])
    const job = await get('job', 'portcullis-cleanup', '-n', NAMESPACE)
    expect(job.spec.template.spec.containers[0].args.at(-1)).toBe('--release=portcullis')
    // Admission goes first, by the Job: its policies without bindings, and no webhook.
    const said = await runAs(
      api,
      `${NAMESPACE}:portcullis-cleanup`,
      job.spec.template.spec.containers[0].args,
    )
    expect(said, said.err).toMatchObject({ code: 0 })
    const left = (await admission()).filter((name) => !/-relax-|own-facts|template/.test(name))
    const policies = [
      'portcullis-exec',
      'portcullis-guard',
      'portcullis-labels',
      'portcullis-outside',
      'portcullis-token',
    ]
    expect(left).toEqual(policies)
    expect((await get('deployments', '-n', NAMESPACE)).items).toHaveLength(2)
    await complete(api, NAMESPACE, 'portcullis-cleanup')
    expect(await uninstall).toMatchObject({ code: 0 })
    await gone()
    expect(await namesOf('customresourcedefinitions')).toHaveLength(8)
    expect(await namesOf('trustdomains')).toEqual(['cluster.example'])
    const rights = await get('clusterroles')
    expect(rights.items.filter(({ metadata }: Manifest) => metadata.name.startsWith('portcullis'))).toEqual(
      [],
    )
  })

  test('installed again it finds its own, and goes without its Job where that cannot run', async () => {
    expect(await ours('install')).toMatchObject({ code: 0 })
    expect((await get('sidecarprofile', 'default')).metadata.uid).toBe(before)
    expect(await helm('uninstall', 'portcullis', '-n', NAMESPACE, '--no-hooks')).toMatchObject({ code: 0 })
    await gone()
  })

  async function gone(): Promise<void> {
    for (let tries = 0; tries < 50 && (await admission()).length > 0; tries += 1) await delay(200)
    expect(await admission()).toEqual([])
  }
})
