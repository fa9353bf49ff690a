import { execFile, execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

// Programs of test/toolchain, by name; built on first use, which can take minutes.

const run = promisify(execFile)
export const ROOT = resolve(import.meta.dirname, '../..')
const SCRIPT = join(ROOT, 'test/toolchain/toolchain.sh')

export type Tools<Name extends string> = Readonly<Record<Name, string>>

/** Absolute paths; what is missing is built, one after the other, as they share most of what they compile. */
export async function openTools<Name extends string>(names: readonly Name[]): Promise<Tools<Name>> {
  try {
    const { stdout } = await run(SCRIPT, ['path', ...names], { encoding: 'utf8' })
    const paths = stdout.trim().split('\n')
    if (paths.length !== names.length) throw new Error(`${paths.length} paths for ${names.length} programs`)
    return Object.fromEntries(names.map((name, at) => [name, paths[at]])) as Tools<Name>
  } catch (cause) {
    throw new Error(`${names.join(', ')} could not be had: ${messageOf(cause)}`, { cause })
  }
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

/** Standard error of a failed command when it has one, as that says why. */
export function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  const { stderr } = cause as { readonly stderr?: unknown }
  return typeof stderr === 'string' && stderr.trim() ? `${cause.message}\n${stderr.trim()}` : cause.message
}
