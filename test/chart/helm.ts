import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { ROOT, tool } from '../cluster-node/tool.ts'

// The chart as Helm renders it, without a cluster.

export const CHART = join(ROOT, 'charts/portcullis')
export const VALUES = join(CHART, 'ci/test-values.yaml')
export const NAMESPACE = 'portcullis-system'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs a program to its end; a failure is a value. */
export async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Said> {
  const options = { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024 }
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, options)
    return { code: 0, out: stdout, err: stderr }
  } catch (cause) {
    const { code, stdout, stderr } = cause as {
      readonly code?: number | string
      readonly stdout?: string
      readonly stderr?: string
    }
    if (typeof code !== 'number') throw cause
    return { code, out: stdout ?? '', err: stderr ?? '' }
  }
}

/** Helm with a home of its own, which goes when it is disposed of. */
export async function openHelm(kubeconfig = '/dev/null'): Promise<Helm & Disposable> {
  const program = await tool('helm')
  const home = mkdtempSync(join(tmpdir(), 'portcullis-helm-'))
  const env = {
    KUBECONFIG: kubeconfig,
    KUBECACHEDIR: home,
    HELM_CACHE_HOME: home,
    HELM_CONFIG_HOME: home,
    HELM_DATA_HOME: home,
  }
  const helm = (...args: readonly string[]) => run(program, args, env)
  return Object.assign(helm, { [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }) })
}
export type Helm = (...args: readonly string[]) => Promise<Said>

// biome-ignore lint/suspicious/noExplicitAny: manifests of any kind; each test knows what it looks at
export type Manifest = any

/** What a release consists of, hooks included. `more`: further arguments of helm template. */
export async function rendered(...more: readonly string[]): Promise<readonly Manifest[]> {
  using helm = await openHelm()
  const said = await helm('template', 'portcullis', CHART, '-n', NAMESPACE, '-f', VALUES, ...more)
  if (said.code !== 0) throw new Error(said.err)
  return parseAllDocuments(said.out, { version: '1.1' })
    .map((document) => document.toJS())
    .filter((one) => one !== null)
}

export function named(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((one) => one.kind === kind && one.metadata.name === name)
  if (found.length !== 1) throw new Error(`${found.length} x ${kind} ${name}`)
  return found[0]
}

export function hookOf(manifest: Manifest): string {
  return manifest.metadata.annotations?.['helm.sh/hook'] ?? ''
}
