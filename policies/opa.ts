// The pinned OPA compiler, as a program.
import { execFileSync, type StdioOptions } from 'node:child_process'
import { resolve } from 'node:path'

/** Output depends on the compiler's bytes, so no other version will do. */
export const OPA_VERSION = '1.22.2'

/** A build that cannot go on. The message says what is wrong, where, and what to do. */
export class BuildError extends Error {}

export interface Opa {
  /** Runs `opa` in `cwd` and returns its standard output. `what` heads the error when it refuses. */
  run(what: string, args: readonly string[], cwd: string): string
}

/** The compiler at `path`, or the one that the toolchain script finds or builds. */
export function openOpa(path?: string): Opa {
  const program = path === undefined ? fromToolchain() : resolve(path)
  const opa: Opa = { run: (what, args, cwd) => execute(program, what, args, cwd) }
  const version = /^Version: (\S+)/m.exec(opa.run('opa version', ['version'], '.'))?.[1]
  if (version !== OPA_VERSION) {
    const found = version ?? 'of unknown version'
    throw new BuildError(`${program} is opa ${found}, but the bundles need ${OPA_VERSION}: leave --opa out`)
  }
  return opa
}

function fromToolchain(): string {
  const script = resolve(import.meta.dirname, '../test/toolchain/toolchain.sh')
  try {
    // Its progress goes straight to standard error: the first run compiles for a minute or more.
    const stdio: StdioOptions = ['ignore', 'pipe', 'inherit']
    return execFileSync(script, ['path', 'opa'], { encoding: 'utf8', stdio }).trim()
  } catch (cause) {
    throw new BuildError('the pinned opa could not be had (see above)', { cause })
  }
}

function execute(program: string, what: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(program, args, {
      cwd,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  } catch (cause) {
    throw new BuildError(`${what} failed:\n${said(cause)}`, { cause })
  }
}

function said(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  const out = 'stdout' in cause ? String(cause.stdout) : ''
  const err = 'stderr' in cause ? String(cause.stderr) : ''
  return `${out}${err}`.trim() || cause.message
}
