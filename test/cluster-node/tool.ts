import { execFile, execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

// Programs of test/toolchain, by name; built on first use, which can take minutes.

const run = promisify(execFile)
export const ROOT = resolve(import.meta.dirname, '../..')
const SCRIPT = join(ROOT, 'test/toolchain/toolchain.sh')

export type Tools<Name extends string> = Readonly<Record<Name, string>>

/** Absolute paths, one build after the other: they share most of what they compile. */
export async function openTools<Name extends string>(names: readonly Name[]): Promise<Tools<Name>> {
  const found: Partial<Record<Name, string>> = {}
  for (const name of names) found[name] = await tool(name)
  return found as Tools<Name>
}

/** Progress goes to this process's standard error only when something fails. */
export async function tool(name: string): Promise<string> {
  try {
    return (await run(SCRIPT, ['path', name], { encoding: 'utf8' })).stdout.trim()
  } catch (cause) {
    throw new Error(`${name} could not be had: ${messageOf(cause)}`, { cause })
  }
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
