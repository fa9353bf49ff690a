import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fetchVersion } from '../../contracts/fetch.ts'
import type { Config } from '../../operator/config.ts'
import { runControl } from '../../operator/control/run.ts'
import { createCompile } from '../../operator/gather/compile.ts'
import { createCertificateMaker } from '../../operator/identity/serving.ts'
import { runIssuerRole } from '../../operator/issuer/run.ts'
import type { KubeMetrics } from '../../operator/kube/metrics.ts'
import { DECLARED } from '../../operator/record/declared.ts'
import { createMetrics } from '../../operator/record/metrics.ts'
import type { Api } from '../cluster-node/api.ts'
import { createProgram, type Program } from '../cluster-node/program.ts'
import { ROOT } from '../cluster-node/tool.ts'
import { operatorPod, SYSTEM, TD } from './control-objects.ts'
import { createGround } from './kube-ground.ts'

// The roles of the operator, in this process or in one of their own.

const AUDIENCE = `portcullis.dev/${TD}`

export interface RunningRole extends AsyncDisposable {
  readonly port: number
  /** Where logout tokens are received; 0: nowhere. */
  readonly logout: () => number
  readonly reports: readonly string[]
  /** Why it ended though nobody asked it to. */
  readonly failed: () => unknown
  readonly metrics: () => Promise<string>
}

export interface Where {
  readonly api: Api
  readonly server: string
  readonly issuer: string
  readonly opa: string
}

/** What a control is told that most are not. */
export type Options = Partial<Pick<Config, 'logoutPort' | 'redis'>>

export async function startRole(
  role: 'control' | 'issuer',
  name: string,
  where: Where,
  options: Options = {},
): Promise<RunningRole> {
  const { api } = where
  const config = configOf(role, name, { ...where, options, ...(await standing(role, name, api)) })
  const serving = Promise.withResolvers<number>()
  let logout = 0
  const ground = createGround()
  const record = createMetrics(DECLARED)
  const reports: string[] = []
  const ports = {
    ...ground,
    metrics: record as KubeMetrics,
    record,
    entropy: randomBytes,
    fetch: fetchVersion,
    compile: createCompile({ opa: where.opa, policies: `${ROOT}/policies`, sleep: ground.sleep }),
    maker: createCertificateMaker(randomBytes),
    report: (event: string, facts: object = {}) => {
      reports.push(`${event} ${JSON.stringify(facts)}`)
      if (event === 'serving') {
        const {
          feed,
          issuer,
          logout: received,
        } = facts as Readonly<Partial<Record<'feed' | 'issuer' | 'logout', number>>>
        logout = received ?? 0
        serving.resolve(feed ?? issuer ?? 0)
      }
    },
  }
  const stopping = new AbortController()
  let failed: unknown
  const running = (role === 'control' ? runControl : runIssuerRole)(config, ports, stopping.signal).catch(
    (cause: unknown) => {
      if (!stopping.signal.aborted) failed = cause
      serving.reject(cause)
    },
  )
  const stop = async () => {
    stopping.abort()
    await running
  }
  try {
    const late = AbortSignal.timeout(40_000)
    const port = await Promise.race([
      serving.promise,
      new Promise<never>((_, reject) =>
        late.addEventListener('abort', () =>
          reject(new Error(`${name} does not serve: ${reports.slice(-8)}`)),
        ),
      ),
    ])
    return {
      port,
      logout: () => logout,
      reports,
      failed: () => failed,
      metrics: () => record.text(),
      [Symbol.asyncDispose]: stop,
    }
  } catch (cause) {
    await stop()
    throw cause
  }
}

interface Standing extends Where {
  readonly options: Options
  readonly uid: string
  readonly tokenFile: string
}

function configOf(
  role: 'control' | 'issuer',
  name: string,
  { options, uid, tokenFile, ...where }: Standing,
): Config {
  return {
    role,
    namespace: SYSTEM,
    trustDomain: TD,
    audience: AUDIENCE,
    issuer: where.issuer,
    profile: 'default',
    ports: { feed: 0, issuer: 0, webhook: 0, admin: 0 },
    logoutPort: options.logoutPort,
    logoutBehindIngress: false,
    redis: options.redis,
    pod: { name, uid, ip: '127.0.0.1', node: '' },
    kubeconfig: { kind: 'given', server: where.server },
    opa: where.opa,
    tokenFile,
    step: '',
    target: '',
  }
}

export async function tokenOf(
  api: Api,
  serviceAccount: string,
  namespace: string,
  pod: string,
): Promise<string> {
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod]
  const asked = ['create', 'token', serviceAccount, '-n', namespace, '--audience', AUDIENCE, ...bound]
  return (await api.kubectl(asked)).trim()
}

/** The emitted program's sources as a process of its own, which can be frozen and killed. */
export async function startProgram(name: string, where: Where): Promise<Program> {
  const { api } = where
  const { uid, tokenFile } = await standing('control', name, api)
  const kubeconfig = join(api.directory, `${name}.kubeconfig`)
  const tree = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: where.server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'test', user: {} }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    'current-context': 'test',
  }
  writeFileSync(kubeconfig, JSON.stringify(tree))
  const env = [`POD_NAME=${name}`, `POD_UID=${uid}`, 'POD_IP=127.0.0.1', `POD_NAMESPACE=${SYSTEM}`]
  const args = ['--trust-domain', TD, '--issuer', where.issuer, '--opa', where.opa, '--token-file', tokenFile]
  const ports = ['feed', 'issuer', 'webhook', 'admin'].flatMap((one) => [`--${one}-port`, '0'])
  const main = join(ROOT, 'operator/main.ts')
  const program = createProgram({
    command: '/usr/bin/env',
    args: [...env, process.execPath, main, 'control', '--kubeconfig', kubeconfig, ...args, ...ports],
    logFile: join(api.directory, `${name}.log`),
  })
  program.start()
  return program
}

/** A pod of its own for each start: the key of a pod is pinned, and only a kubelet could tell that its container began anew. */
async function standing(role: string, name: string, api: Api) {
  await api.kubectl([
    'delete',
    'pod',
    name,
    '-n',
    SYSTEM,
    '--ignore-not-found',
    '--grace-period=0',
    '--force',
  ])
  await api.kubectl(['apply', '-f', '-'], { stdin: operatorPod(name, `portcullis-${role}`) })
  const uid = (await api.kubectl(['get', 'pod', name, '-n', SYSTEM, '-o', 'jsonpath={.metadata.uid}'])).trim()
  const tokenFile = join(api.directory, `${name}.token`)
  writeFileSync(tokenFile, await tokenOf(api, `portcullis-${role}`, SYSTEM, name))
  return { uid, tokenFile }
}
