import { generateKeyPairSync } from 'node:crypto'
import { createCsr } from '../../contracts/csr.ts'
import type { Held } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { IssuerService } from '../../contracts/gen/portcullis/identity/v1/identity.ts'
import { parseSpiffeId, type X509Trust } from '../../contracts/spiffe.ts'
import { readFact, TRUST_BUNDLE_NAME } from '../../operator/ledger/facts.ts'
import { callUnary, createMeshChannel } from '../../operator/mesh/channel.ts'
import type { MeshIdentity } from '../../operator/mesh/identity.ts'
import { createLive } from '../../operator/mesh/live.ts'
import { type Api, openApi } from '../cluster-node/api.ts'
import type { Program } from '../cluster-node/program.ts'
import { tool } from '../cluster-node/tool.ts'
import { type Obedient, obedient, scripted } from '../operator/publish/stage.ts'
import { account, BASE, SYSTEM, TD } from './control-objects.ts'
import {
  type Options,
  type RunningRole,
  startProgram,
  startRole,
  tokenOf,
  type Where,
} from './control-role.ts'
import { install } from './crd-server.ts'
import { type FaultProxy, openFaultProxy } from './kube-fault-proxy.ts'
import { eventually } from './kube-ground.ts'

// The real control and issuer roles in this process, on a real API server, each behind a fault proxy of its own. What only a kubelet
// makes (running operator pods, their projected tokens) is made by hand; sidecars are scripted, over the real mesh and with real SVIDs.

const never = new AbortController().signal

// biome-ignore lint/suspicious/noExplicitAny: an object of any kind; each test knows what it asked for
export type KubeJson = any

export interface ControlWorld extends AsyncDisposable {
  readonly api: Api
  /** Between control and the API server, and between the issuer and it. */
  readonly proxies: Readonly<Record<'control' | 'issuer' | 'other', FaultProxy>>
  readonly issuer: RunningRole
  apply(yaml: string): Promise<void>
  remove(...args: readonly string[]): Promise<void>
  get(kind: string, name: string, namespace?: string): Promise<KubeJson>
  /** `Type=Status Reason message` of an object's condition. */
  condition(kind: string, name: string, type: string): Promise<string>
  startControl(name: string, options?: Options): Promise<RunningRole>
  /** In a process of its own, behind the proxy `other`. */
  startProgram(name: string): Promise<Program>
  /** A scripted sidecar of this pod of namespace shop, connected to a replica. */
  sidecar(pod: string, control: RunningRole, held?: Partial<Held>): Promise<Sidecar>
  identityOf(pod: string): Promise<MeshIdentity>
  trust(): Promise<X509Trust>
}

export interface Sidecar extends Obedient {
  heartbeats(): number
}

/** Whether a sidecar was told of a revocation, and was not told otherwise. */
export function denies(sidecar: Sidecar, jti: string): boolean {
  let denied = new Map<string, string>()
  for (const { response } of sidecar.received) {
    if (response.$case !== 'revocations') continue
    const { base, entries, removed } = response.revocations
    if (base === 0) denied = new Map()
    for (const id of removed) denied.delete(id)
    for (const { id, subject } of entries) denied.set(id, subject?.$case === 'jti' ? subject.jti : '')
  }
  return [...denied.values()].includes(jti)
}

export async function openControlWorld(): Promise<ControlWorld> {
  const stack = new AsyncDisposableStack()
  const api = stack.use(await openApi())
  await install(api)
  const apply = async (yaml: string) => void (await api.kubectl(['apply', '-f', '-'], { stdin: yaml }))
  for (const namespace of [SYSTEM, 'shop'])
    await apply(`{apiVersion: v1, kind: Namespace, metadata: {name: ${namespace}}}`)
  const accounts = ['control', 'issuer'].map((name) => account(`portcullis-${name}`, SYSTEM))
  await apply([...accounts, account('default', 'shop')].join('\n---\n'))
  await apply(BASE)
  const admin = await api.user('world', ['system:masters'])
  const proxy = async () => stack.use(await openFaultProxy({ ...api, ...admin }))
  const proxies = { control: await proxy(), issuer: await proxy(), other: await proxy() }
  const opa = await tool('opa')
  const issuer = stack.use(
    await startRole('issuer', 'issuer-a', { api, server: proxies.issuer.url, issuer: '', opa }),
  )
  const where = (by: FaultProxy): Where => ({
    api,
    server: by.url,
    issuer: `127.0.0.1:${issuer.port}`,
    opa,
  })
  const get = (kind: string, name: string, namespace?: string) => read(api, kind, name, namespace)
  const trust = () => trustOf(api)
  const identities = new Map<string, Promise<MeshIdentity>>()
  const identityOf = (pod: string): Promise<MeshIdentity> => {
    const known = identities.get(pod) ?? bootstrap(api, issuer, pod, trust)
    identities.set(pod, known)
    return known
  }
  return {
    api,
    proxies,
    issuer,
    apply,
    remove: async (...args) => void (await api.kubectl(['delete', '--wait=false', ...args])),
    get,
    async condition(kind, name, type) {
      const { status } = await get(kind, name)
      const found = (status?.conditions ?? []).find((one: { type: string }) => one.type === type)
      return found ? `${type}=${found.status} ${found.reason} ${found.message}` : `${type}: none`
    },
    startControl: (name, options) => startRole('control', name, where(proxies.control), options),
    startProgram: (name) => startProgram(name, where(proxies.other)),
    identityOf,
    trust,
    sidecar: async (pod, control, held = {}) =>
      connect(control, { identity: await identityOf(pod), trust: await trust() }, held),
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  }
}

async function bootstrap(
  api: Api,
  issuer: RunningRole,
  pod: string,
  trust: () => Promise<X509Trust>,
): Promise<MeshIdentity> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  using channel = createMeshChannel({
    target: `127.0.0.1:${issuer.port}`,
    identity: createLive<MeshIdentity | undefined>(undefined),
    trust: createLive(await trust()),
    expected: ({ path }) => path.startsWith('/portcullis/operator/issuer/'),
    requestBytes: 1 << 20,
    responseBytes: 1 << 20,
    now: Date.now,
  })
  const token = await tokenOf(api, 'default', 'shop', pod)
  let why = ''
  let given: MeshIdentity | undefined
  await eventually(async () => {
    const within = { deadlineMs: Date.now() + 5_000, signal: never }
    const asked = { csr: createCsr(privateKey), token }
    const answer = await callUnary(channel.client(), IssuerService.issueControl, asked, within)
    why = answer.ok ? '' : answer.why
    if (!answer.ok || !answer.value.svid) throw new Error(`no SVID for ${pod}: ${why}`)
    const { chain, notBeforeMs, notAfterMs, spiffeId } = answer.value.svid
    const id = parseSpiffeId(spiffeId)
    if (!id) throw new Error(`no id: ${spiffeId}`)
    given = { id, chain, privateKey, notBeforeMs, notAfterMs }
  })
  if (!given) throw new Error(why)
  return given
}

async function read(api: Api, kind: string, name: string, namespace = 'shop'): Promise<KubeJson> {
  return JSON.parse(await api.kubectl(['get', kind, name, '-n', namespace, '-o', 'json']))
}

async function trustOf(api: Api): Promise<X509Trust> {
  const fact = readFact(await read(api, 'configmap', TRUST_BUNDLE_NAME, SYSTEM))
  if (!fact.ok || fact.value.kind !== 'trust-bundle') throw new Error('no trust bundle')
  return { trustDomain: TD, roots: fact.value.bundle.x509Roots }
}

export function connect(
  control: RunningRole,
  as: { readonly identity: MeshIdentity; readonly trust: X509Trust },
  held: Partial<Held>,
): Sidecar {
  const channel = createMeshChannel({
    target: `127.0.0.1:${control.port}`,
    identity: createLive(as.identity),
    trust: createLive(as.trust),
    expected: ({ path }) => path.startsWith('/portcullis/operator/control/'),
    requestBytes: 16 << 20,
    responseBytes: 16 << 20,
    now: Date.now,
  })
  const script = obedient(scripted(channel.client()), held)
  let beats = 0
  script.on(({ response }) => {
    if (response.$case === 'heartbeat') beats += 1
  })
  return { ...script, heartbeats: () => beats }
}
