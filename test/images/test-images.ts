import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { tool } from '../cluster-node/tool.ts'
import { NODE, nodeRuntime } from './node-runtime.ts'
import { archive, type Layer, layer } from './oci.ts'
import type { Entry } from './tar.ts'

// Images that exist for tests alone: a shell, a Node to run a test's own script, go-spiffe.

export interface TestImage {
  readonly name: string
  readonly ref: string
  readonly digest: string
  readonly bytes: Buffer
  readonly uncompressedBytes: number
}

const USER = '65532:65532'

export function busybox(): TestImage {
  const source = '/bin/busybox'
  const applets = execFileSync(source, ['--list'], { encoding: 'utf8' }).trim().split('\n')
  const links: readonly Entry[] = applets
    .filter((one) => one !== 'busybox')
    .map((one) => ({ path: `bin/${one}`, link: 'busybox' }))
  const content = readFileSync(source)
  const only = layer([
    { path: 'bin/busybox', mode: 0o755, content },
    ...links,
    { path: 'tmp/', mode: 0o1777 },
  ])
  return image('busybox', [only], ['/bin/sh'])
}

/** `files` by their path in the image; `main` is the script that Node runs. Without files: Node for a mounted script. */
export function testapp(
  files: Readonly<Record<string, Uint8Array>> = {},
  { name = 'testapp', main }: { readonly name?: string; readonly main?: string } = {},
): TestImage {
  const entries = Object.entries(files).map(([path, content]) => ({ path: path.replace(/^\//, ''), content }))
  const layers = [nodeRuntime().layer, ...(entries.length > 0 ? [layer(entries)] : [])]
  return image(name, layers, main === undefined ? [NODE] : [NODE, main])
}

export async function spiffeProbe(): Promise<TestImage> {
  const source = await tool('spiffe-probe')
  const entry = { path: basename(source), mode: 0o755, content: readFileSync(source) }
  return image('spiffe-probe', [layer([entry])], ['/spiffe-probe'])
}

function image(name: string, layers: readonly Layer[], entrypoint: readonly string[]): TestImage {
  const ref = `portcullis.test/${name}:dev`
  const uncompressedBytes = layers.reduce((sum, one) => sum + one.uncompressedBytes, 0)
  return { name, ref, uncompressedBytes, ...archive({ ref, layers, entrypoint, user: USER }) }
}
