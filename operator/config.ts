import { parseArgs } from 'node:util'
import type { RedisSettings } from '../contracts/redis/settings.ts'
import { REDIS_OPTIONS, readRedis } from './config-redis.ts'
import type { KubeconfigSource } from './kube/credentials.ts'

/** What every role is told. */
export interface Config {
  readonly role: Role
  /** The release's namespace: everything the operator owns is there. */
  readonly namespace: string
  readonly trustDomain: string
  /** Of the projected tokens with which sidecars and replicas ask for identities. */
  readonly audience: string
  /** `host:port` of the issuer's service. */
  readonly issuer: string
  /** Name of the SidecarProfile that pods get which name none. */
  readonly profile: string
  readonly ports: Readonly<Record<'feed' | 'issuer' | 'webhook' | 'admin', number>>
  /** Where logout tokens are received; undefined: nowhere. */
  readonly logoutPort: number | undefined
  /** Logout tokens come through an ingress only, whose X-Forwarded-For is believed. */
  readonly logoutBehindIngress: boolean
  /** Holds the revocation log; undefined: the database of the cluster does. */
  readonly redis: RedisSettings | undefined
  readonly pod: PodFacts
  readonly kubeconfig: KubeconfigSource
  /** The pinned `opa`, and the `policies` folder of this program. */
  readonly opa: string
  readonly tokenFile: string
  /** With helm-test: which of its steps. */
  readonly step: string
  /** With helm-test: where the injected sidecar is asked. */
  readonly target: string
}

export const ROLES = ['control', 'issuer', 'cleanup', 'helm-test'] as const
export type Role = (typeof ROLES)[number]

/** Who this replica is, from the downward API. */
export interface PodFacts {
  readonly name: string
  readonly uid: string
  readonly ip: string
  readonly node: string
}

export type Environment = Readonly<Record<string, string | undefined>>
export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] }

const OPTIONS = {
  namespace: { type: 'string' },
  'trust-domain': { type: 'string' },
  audience: { type: 'string' },
  issuer: { type: 'string' },
  profile: { type: 'string', default: 'default' },
  'feed-port': { type: 'string', default: '8443' },
  'issuer-port': { type: 'string', default: '8444' },
  'webhook-port': { type: 'string', default: '10250' },
  'admin-port': { type: 'string', default: '8080' },
  'logout-port': { type: 'string' },
  'logout-behind-ingress': { type: 'boolean', default: false },
  ...REDIS_OPTIONS,
  kubeconfig: { type: 'string' },
  opa: { type: 'string', default: '/usr/local/bin/opa' },
  'token-file': { type: 'string', default: '/var/run/secrets/portcullis/token' },
  release: { type: 'string', default: 'portcullis' },
} as const

/** Reads the command line and the downward API: a complete configuration, or every problem with its remedy. */
export function readConfig(args: readonly string[], env: Environment): ConfigResult {
  const problems: string[] = []
  const parsed = parse(args, problems)
  const need = (value: string | undefined, name: string, remedy: string): string => {
    if (!value) problems.push(`${name}: required; ${remedy}`)
    return value ?? ''
  }
  const [role = ''] = parsed.positionals
  if (!ROLES.some((one) => one === role))
    problems.push(`the first argument: must be one of ${ROLES.join(', ')}`)
  const { values } = parsed
  const serves = role === 'control' || role === 'issuer'
  const fromPod = (name: string): string =>
    serves ? need(env[name], name, 'set it from the downward API (see charts/portcullis)') : (env[name] ?? '')
  const namespace = need(
    values.namespace ?? env['POD_NAMESPACE'],
    '--namespace',
    'give the namespace of the release',
  )
  const trustDomain = serves
    ? need(values['trust-domain'], '--trust-domain', 'give the SPIFFE trust domain of this cluster')
    : (values['trust-domain'] ?? '')
  const config: Config = {
    role: role as Role,
    namespace,
    trustDomain,
    audience: values.audience ?? `portcullis.dev/${trustDomain}`,
    issuer: values.issuer ?? `portcullis-issuer.${namespace}.svc:8444`,
    profile: values.profile,
    ports: {
      feed: port(values['feed-port'], '--feed-port', problems),
      issuer: port(values['issuer-port'], '--issuer-port', problems),
      webhook: port(values['webhook-port'], '--webhook-port', problems),
      admin: port(values['admin-port'], '--admin-port', problems),
    },
    logoutPort:
      values['logout-port'] === undefined
        ? undefined
        : port(values['logout-port'], '--logout-port', problems),
    logoutBehindIngress: values['logout-behind-ingress'],
    redis: readRedis(values, problems),
    pod: {
      name: fromPod('POD_NAME'),
      uid: fromPod('POD_UID'),
      ip: fromPod('POD_IP'),
      node: env['NODE_NAME'] ?? '',
    },
    kubeconfig: sourceOf(values.kubeconfig, env, problems),
    opa: values.opa,
    tokenFile: values['token-file'],
    step: parsed.positionals[1] ?? '',
    target: env['PORTCULLIS_TARGET'] ?? '',
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, config }
}

function parse(args: readonly string[], problems: string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true })
  } catch (cause) {
    problems.push(cause instanceof Error ? cause.message : 'the arguments cannot be read')
    return parseArgs({ args: [], options: OPTIONS, allowPositionals: true })
  }
}

function port(text: string, name: string, problems: string[]): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (value <= 65_535) return value
  problems.push(`${name}: must be a port, 0 to 65535`)
  return 0
}

function sourceOf(path: string | undefined, env: Environment, problems: string[]): KubeconfigSource {
  if (path !== undefined) return { kind: 'file', path }
  const [host, port] = [env['KUBERNETES_SERVICE_HOST'], env['KUBERNETES_SERVICE_PORT']]
  if (!host || !port) problems.push('the API server: not in a cluster; give --kubeconfig FILE')
  return { kind: 'inCluster', host: host ?? '', port: port ?? '' }
}
