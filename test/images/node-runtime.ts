import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../cluster-node/tool.ts'
import { type Layer, layer } from './oci.ts'
import type { Entry } from './tar.ts'

// The layer that every image of ours begins with: Node without its symbols, the libraries it loads, two users.

export const NODE = '/usr/local/bin/node'

export interface Runtime {
  readonly layer: Layer
  readonly version: string
  /** Debian packages that the libraries come from. */
  readonly libraries: readonly { readonly name: string; readonly version: string }[]
}

let made: Runtime | undefined

/** Made once a process: several images share it, on disk and in a node. */
export function nodeRuntime(): Runtime {
  made ??= make()
  return made
}

function make(): Runtime {
  const source = realpathSync(join(ROOT, 'node_modules/node/bin/node'))
  const libraries = librariesOf(source)
  const entries: readonly Entry[] = [
    { path: NODE.slice(1), mode: 0o755, content: stripped(source) },
    ...libraries.map((path) => ({ path: path.slice(1), mode: 0o755, content: readFileSync(path) })),
    ...FILES.map(([path, text]) => ({ path, content: Buffer.from(text) })),
    { path: 'tmp/', mode: 0o1777 },
  ]
  return {
    layer: layer(entries),
    version: execFileSync(source, ['--version'], { encoding: 'utf8' }).trim(),
    libraries: packagesOf(libraries),
  }
}

const FILES = [
  ['etc/passwd', 'root:x:0:0::/:\nsidecar:x:64531:64531::/:\noperator:x:64532:64532::/:\n'],
  ['etc/group', 'root:x:0:\nsidecar:x:64531:\noperator:x:64532:\n'],
  // Else a name in /etc/hosts would not be looked for before DNS.
  ['etc/nsswitch.conf', 'hosts: files dns\n'],
] as const

/** Absolute paths as the loader finds them: `libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x...)`. */
function librariesOf(binary: string): readonly string[] {
  const out = execFileSync('ldd', [binary], { encoding: 'utf8' })
  const paths = [...out.matchAll(/(?:=>\s*|^\s*)(\/\S+)\s+\(0x/gm)].map((match) => match[1] ?? '')
  if (paths.length === 0) throw new Error(`ldd found no library of ${binary}`)
  return [...new Set(paths)].sort()
}

function stripped(source: string): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-strip-'))
  try {
    const target = join(directory, 'node')
    execFileSync('strip', ['-o', target, source])
    return readFileSync(target)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

function packagesOf(libraries: readonly string[]): Runtime['libraries'] {
  const names = libraries.flatMap((path) => {
    // dpkg knows a file by the path it was installed at, which may be the one behind /lib -> /usr/lib.
    for (const known of [path, realpathSync(path), realpathSync(path).replace(/^\/usr/, '')]) {
      const owner = quiet('dpkg-query', ['-S', known])?.split(':')[0]
      if (owner) return [owner]
    }
    return []
  })
  return [...new Set(names)].sort().map((name) => {
    // Lines of `dpkg -s`: "Version: 2.36-9".
    const version = quiet('dpkg', ['-s', name])?.match(/^Version: (\S+)$/m)?.[1]
    return { name, version: version ?? 'unknown' }
  })
}

function quiet(program: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return undefined
  }
}
