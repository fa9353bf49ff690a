import type { KeyRotation } from '../../contracts/crd/key-rotation.ts'
import { parseTime } from '../../contracts/time.ts'
import type { CertificateMaker, CertificateStore, Hooks } from '../inject/certificates.ts'
import { createCertificates, STORE_NAME } from '../inject/certificates.ts'
import { createPublished, type Template } from '../inject/published.ts'
import type { Facts, Profile } from '../inject/sidecar.ts'
import { openWebhook, type RunningWebhook } from '../inject/webhook.ts'
import { expectValue, faultOf, listOf, recordOf, textOf } from '../kube/answer.ts'
import { apply } from '../kube/apply.ts'
import type { KubeObject, Resource } from '../kube/resource.ts'
import {
  MUTATING_WEBHOOK_CONFIGURATIONS,
  SECRETS,
  VALIDATING_WEBHOOK_CONFIGURATIONS,
} from '../kube/resources.ts'
import type { KubePorts, Transport } from '../kube/transport.ts'
import { create, get, replace } from '../kube/verbs.ts'
import { Fault } from '../ports.ts'
import type { ClusterWatch } from './cluster-watch.ts'

/** The webhook of this replica, with its certificates. */
export interface HookRoom extends AsyncDisposable {
  /** Looks after the certificates until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  notReadyBecause(): string | undefined
}

export interface HookNeeds {
  readonly transport: Transport
  readonly watch: ClusterWatch
  readonly ports: KubePorts
  readonly namespace: string
  readonly port: number
  readonly profile: string
  readonly facts: () => Facts
  readonly leads: () => boolean
  readonly maker: CertificateMaker
  readonly observe: (path: string, status: number, seconds: number) => void
  readonly notAfter: (seconds: number) => void
}

const PASS_MS = 20_000
const FIRST_MS = 1_000
const CA_MANAGER = 'portcullis-webhook-ca'
const CONFIGURATIONS: readonly (readonly [Resource, string])[] = [
  [MUTATING_WEBHOOK_CONFIGURATIONS, 'portcullis-inject'],
  [VALIDATING_WEBHOOK_CONFIGURATIONS, 'portcullis-validate'],
]

export function createHookRoom(needs: HookNeeds): HookRoom {
  let running: Promise<RunningWebhook> | undefined
  let problem = ''
  // What is injected is what the guard policy already compares with: a profile that has just changed waits for its status.
  const published = createPublished()
  const template = (): Template | undefined => {
    const profile = profileNamed(needs.watch, needs.profile)
    const status = needs.watch.kinds.SidecarProfile.store.get(needs.profile)?.parsed.status
    published.observe(profile && { profile, facts: needs.facts() }, status?.injection)
    return published.current()
  }
  const stop = needs.watch.subscribe((what) => {
    if (what === 'SidecarProfile') template()
  })
  const certificates = createCertificates({
    maker: needs.maker,
    store: storeIn(needs.transport, needs.namespace),
    hooks: hooksOf(needs.transport),
    dnsNames: namesOf(needs.namespace),
    now: needs.ports.now,
    report: needs.ports.report,
    notAfter: needs.notAfter,
    serve(pair) {
      running = running
        ? running.then((webhook) => {
            webhook.serve(pair)
            return webhook
          })
        : openWebhook({ host: '0.0.0.0', port: needs.port }, pair, webhookNeeds(needs, template))
      running.catch((cause: unknown) => {
        problem = Fault.from(cause).message
      })
    },
  })
  return {
    notReadyBecause: () => (problem ? `webhook: ${problem}` : certificates.notReadyBecause()),
    async run(signal) {
      while (!signal.aborted) {
        template()
        await certificates.pass(needs.leads(), signal).catch((cause: unknown) => {
          if (!signal.aborted)
            needs.ports.report('webhook_certificates_failed', { problem: Fault.from(cause).message })
        })
        // Quick until it stands: nothing can be injected before.
        const waitMs = certificates.notReadyBecause() === undefined ? PASS_MS : FIRST_MS
        await needs.ports.sleep(waitMs, signal).catch(() => undefined)
      }
    },
    async [Symbol.asyncDispose]() {
      stop()
      const webhook = await running?.catch(() => undefined)
      await webhook?.[Symbol.asyncDispose]()
    },
  }
}

function webhookNeeds(needs: HookNeeds, template: () => Template | undefined) {
  const { watch, ports } = needs
  return {
    monotonic: ports.monotonic,
    sleep: ports.sleep,
    report: ports.report,
    observe: needs.observe,
    profile: needs.profile,
    now: ports.now,
    momentOf: parseTime,
    facts: () => template()?.facts ?? needs.facts(),
    injected: () => template()?.profile,
    policies: () => watch.kinds.AccessPolicy.store.list().map(({ parsed }) => parsed),
    keys: (trustDomain: string, use: KeyRotation['spec']['use']) => keysOf(watch, trustDomain, use),
  }
}

/** The SidecarProfile of that name, as injection wants it. */
export function profileNamed({ kinds }: ClusterWatch, name: string): Profile | undefined {
  const found = kinds.SidecarProfile.store.get(name)?.parsed
  return found && { name, spec: found.spec }
}

const LISTS = { X509CA: 'roots', JWTSVID: 'jwtKeys', BundleSigning: 'bundleKeys' } as const

function keysOf(
  { kinds }: ClusterWatch,
  name: string,
  use: KeyRotation['spec']['use'],
): readonly string[] | undefined {
  const found = kinds.TrustDomain.store.get(name)?.parsed
  return found && (found.status?.[LISTS[use]] ?? []).map(({ id }) => id)
}

function namesOf(namespace: string): readonly string[] {
  const service = `portcullis-control.${namespace}`
  return [`${service}.svc`, `${service}.svc.cluster.local`, service]
}

function storeIn(transport: Transport, namespace: string): CertificateStore {
  const place = { resource: SECRETS, namespace }
  return {
    async read(signal) {
      const answer = await get(transport, { ...place, name: STORE_NAME }, signal)
      if (!answer.ok && answer.refused.status === 404) return undefined
      const { metadata, data } = expectValue(answer, `get Secret ${STORE_NAME}`)
      const decoded = Object.entries(recordOf(data)).map(([key, value]) => [
        key,
        Buffer.from(String(value), 'base64').toString('utf8'),
      ])
      return { version: metadata.resourceVersion ?? '', data: Object.fromEntries(decoded) }
    },
    async write(data, version, signal) {
      const body = {
        apiVersion: 'v1',
        kind: 'Secret',
        type: 'Opaque',
        metadata: {
          name: STORE_NAME,
          namespace,
          ...(version === undefined ? {} : { resourceVersion: version }),
        },
        data: Object.fromEntries(
          Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
        ),
      }
      const answer =
        version === undefined
          ? await create(transport, place, body, signal)
          : await replace(transport, { ...place, name: STORE_NAME }, body, signal)
      if (answer.ok) return 'stored'
      if (answer.refused.status === 409) return 'conflict'
      throw faultOf(answer.refused, `write Secret ${STORE_NAME}`)
    },
  }
}

function hooksOf(transport: Transport): Hooks {
  return {
    async read(signal) {
      const bundles: string[] = []
      for (const [resource, name] of CONFIGURATIONS) {
        const answer = await get(transport, { resource, name }, signal)
        if (!answer.ok && answer.refused.status === 404) return []
        bundles.push(...webhooksIn(expectValue(answer, `get ${name}`)).map(({ caBundle }) => caBundle))
      }
      return bundles
    },
    async patch(caBundle, signal) {
      for (const [resource, name] of CONFIGURATIONS) {
        const found = expectValue(await get(transport, { resource, name }, signal), `get ${name}`)
        const webhooks = webhooksIn(found).map((hook) => ({
          name: hook.name,
          clientConfig: { caBundle: Buffer.from(caBundle).toString('base64') },
        }))
        const applied = await apply(
          transport,
          { resource, metadata: { name }, fields: { webhooks }, manager: CA_MANAGER, force: true },
          signal,
        )
        if (!applied.ok) throw faultOf(applied.refused, `apply caBundle of ${name}`)
      }
    },
  }
}

function webhooksIn(configuration: KubeObject) {
  const { webhooks } = configuration as KubeObject & { readonly webhooks?: unknown }
  return listOf(webhooks).map((one) => {
    const hook = recordOf(one)
    const { caBundle } = recordOf(hook['clientConfig'])
    return {
      name: textOf(hook['name']),
      caBundle: typeof caBundle === 'string' ? Buffer.from(caBundle, 'base64').toString('utf8') : '',
    }
  })
}
