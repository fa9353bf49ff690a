import { mkdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../fixtures/free-ports.ts'
import { apiserverArgs, etcdArgs } from './api-args.ts'
import { writeKubeconfig } from './kubeconfig.ts'
import { createKubectl, type Kubectl } from './kubectl.ts'
import { ownedDirectory } from './owned.ts'
import { type Authority, createPki, type KeyPair, type Pki } from './pki.ts'
import { createProgram, type Program } from './program.ts'
import { answered, eventually } from './ready.ts'
import { onPath, openTools } from './tool.ts'

// A real kube-apiserver and etcd alone, on loopback: no node, no controllers, no root. Service accounts, finalised
// namespaces and endpoints are made by controllers, so here a test makes them itself.

export type Part = 'apiserver' | 'etcd'

export interface Api {
  /** `https://127.0.0.1:<port>`, the same after every restart. */
  readonly url: string
  /** Of a member of system:masters. */
  readonly kubeconfig: string
  readonly caFile: string
  readonly auditLog: string
  readonly directory: string
  readonly kubectl: Kubectl
  /** A client certificate and a kubeconfig for any user; what it may do is up to RBAC. */
  user(name: string, groups?: readonly string[]): Promise<User>
  /** A kubeconfig with a bearer token, such as one of TokenRequest. */
  bearer(name: string, token: string): string
  /** Data stay. Without a part: both, apiserver first. */
  stop(part?: Part): Promise<void>
  kill(part?: Part): Promise<void>
  /** Resolves when the API server is ready again (or, for etcd while the API server is stopped, when it runs). */
  start(part?: Part): Promise<void>
  /** Frozen, not gone: connections stay open and nothing answers. */
  pause(part: Part): void
  resume(part: Part): void
}

export interface User extends KeyPair {
  readonly kubeconfig: string
}

export interface ApiOptions {
  /** Appended to the arguments of kube-apiserver. */
  readonly args?: readonly string[]
}

/** Why it cannot run here; undefined when it can. */
export function apiUnavailable(): string | undefined {
  if (process.platform !== 'linux') return `needs Linux (this is ${process.platform})`
  if (!onPath('openssl')) return 'needs openssl'
  return onPath('go') ? undefined : 'needs Go, to build kube-apiserver and etcd'
}

export async function openApi({ args = [] }: ApiOptions = {}): Promise<Api & AsyncDisposable> {
  // Servers of a killed test process have died with it; its directory has not.
  const directory = ownedDirectory(tmpdir(), 'portcullis-api-')
  const programs: Partial<Record<Part, Program>> = {}
  const dispose = async () => {
    await Promise.all([programs.apiserver?.kill(), programs.etcd?.kill()])
    rmSync(directory, { recursive: true, force: true })
  }
  try {
    return { ...(await begin(directory, programs, args)), [Symbol.asyncDispose]: dispose }
  } catch (cause) {
    const tails = [programs.etcd?.tail(), programs.apiserver?.tail()].filter((one) => one).join('\n')
    await dispose()
    throw new Error(`kube-apiserver did not start\n${tails}`, { cause })
  }
}

async function begin(
  directory: string,
  programs: Partial<Record<Part, Program>>,
  args: readonly string[],
): Promise<Api> {
  const tools = await openTools(['etcd', 'kube-apiserver', 'kubectl'])
  const [port = 0, client = 0, peer = 0] = await freePorts(3)
  const pki = createPki(join(directory, 'pki'))
  const ca = await pki.authority('kubernetes')
  const url = `https://127.0.0.1:${port}`
  mkdirSync(join(directory, 'etcd'), { mode: 0o700 })
  const plan = { directory, pki, ca, port, etcdUrl: `http://127.0.0.1:${client}` }
  programs.etcd = createProgram({
    command: tools.etcd,
    args: etcdArgs(join(directory, 'etcd'), client, peer),
    logFile: join(directory, 'etcd.log'),
  })
  programs.etcd.start()
  programs.apiserver = createProgram({
    command: tools['kube-apiserver'],
    args: [...(await apiserverArgs(plan)), ...args],
    logFile: join(directory, 'apiserver.log'),
  })
  programs.apiserver.start()
  const api = { url, caFile: ca.cert, directory, auditLog: join(directory, 'audit.log') }
  const access = createAccess(api, pki, ca)
  const admin = await access.user('admin', ['system:masters'])
  await ready(api, programs.apiserver)
  return {
    ...api,
    ...access,
    ...createSwitches(api, { etcd: programs.etcd, apiserver: programs.apiserver }),
    kubeconfig: admin.kubeconfig,
    kubectl: createKubectl(tools.kubectl, admin.kubeconfig, join(directory, 'kubectl-cache')),
  }
}

type Place = Pick<Api, 'url' | 'caFile' | 'directory'>

function createAccess(
  { url, caFile, directory }: Place,
  pki: Pki,
  ca: Authority,
): Pick<Api, 'user' | 'bearer'> {
  let made = 0
  const path = (name: string) => {
    made += 1
    return `${name.replaceAll(/[^A-Za-z0-9.-]/g, '_')}-${made}`
  }
  return {
    user: async (name, groups = []) => {
      const file = path(name)
      const pair = await pki.sign(file, { commonName: name, organizations: groups, usage: 'clientAuth' }, ca)
      const access = { server: url, caFile, as: pair }
      return { ...pair, kubeconfig: writeKubeconfig(join(directory, `${file}.kubeconfig`), access) }
    },
    bearer: (name, token) => {
      const access = { server: url, caFile, as: { token } }
      return writeKubeconfig(join(directory, `${path(name)}.kubeconfig`), access)
    },
  }
}

type Switches = Pick<Api, 'stop' | 'kill' | 'start' | 'pause' | 'resume'>

function createSwitches(api: Place, programs: Readonly<Record<Part, Program>>): Switches {
  const parts = (part: Part | undefined): readonly Program[] =>
    part ? [programs[part]] : [programs.apiserver, programs.etcd]
  return {
    stop: async (part) => {
      for (const program of parts(part)) await program.stop()
    },
    kill: async (part) => {
      for (const program of parts(part)) await program.kill()
    },
    start: async (part) => {
      for (const program of parts(part).toReversed()) if (program.pid === undefined) program.start()
      if (programs.apiserver.pid !== undefined) await ready(api, programs.apiserver)
    },
    pause: (part) => programs[part].pause(),
    resume: (part) => programs[part].resume(),
  }
}

async function ready({ url, caFile }: Place, apiserver: Program): Promise<void> {
  await eventually('kube-apiserver', async () => {
    if (apiserver.pid === undefined) throw new Error('kube-apiserver ended by itself')
    return answered(`${url}/readyz`, caFile)
  })
}

/** Held together while they are chosen, so that the three differ. */
