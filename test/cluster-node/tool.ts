import { execFileSync, spawn } from 'node:child_process'
import { join, resolve } from 'node:path'

// Programs of test/toolchain, by name; built on first use, which can take minutes.

export const ROOT = resolve(import.meta.dirname, '../..')
const SCRIPT = join(ROOT, 'test/toolchain/toolchain.sh')

export type Tools<Name extends string> = Readonly<Record<Name, string>>

/** Absolute paths; what is missing is built, one after the other, as they share most of what they compile. */
export async function openTools<Name extends string>(names: readonly Name[]): Promise<Tools<Name>> {
  try {
    const paths = await pathsOf(names)
    if (paths.length !== names.length) throw new Error(`${paths.length} paths for ${names.length} programs`)
    return Object.fromEntries(names.map((name, at) => [name, paths[at]])) as Tools<Name>
  } catch (cause) {
    throw new Error(`${names.join(', ')} could not be had`, { cause })
  }
}

// Its progress goes straight to standard error: a first build takes minutes.
function pathsOf(names: readonly string[]): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(SCRIPT, ['path', ...names], {
      env: { ...process.env, QUIET: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const out: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(Buffer.concat(out).toString('utf8').trim().split('\n'))
      else reject(new Error(`test/toolchain/toolchain.sh ended with ${code} (see above)`))
    })
  })
}

export async function tool(name: string): Promise<string> {
  const tools = await openTools([name])
  return tools[name] ?? ''
}

/** Whether a program of the machine itself is there. */
export function onPath(program: string): boolean {
  try {
    execFileSync('/bin/sh', ['-c', 'command -v -- "$1"', 'sh', program], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
