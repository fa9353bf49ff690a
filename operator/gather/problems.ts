import type { ChildResult } from './child.ts'

/** One thing that is wrong with a policy. `file` as its author named it, empty when no file is to blame; `line` from 1, 0 for none. */
export interface Problem {
  readonly file: string
  readonly line: number
  readonly message: string
}

const AT_MOST = 32
const LENGTH = 512

/** A problem of the whole policy. */
export function refused(message: string): Problem {
  return { file: '', line: 0, message: message.slice(0, LENGTH) }
}

/** What `opa` says is wrong: its JSON errors, else the lines that look like `file:line: message`, else its first words. */
export function problemsIn({ stdout, stderr }: ChildResult, step = 'opa check'): readonly Problem[] {
  const said = stderr.trim() || stdout.trim()
  const listed = listedErrors(said)
  if (listed.length > 0) return listed.slice(0, AT_MOST)
  const placed = [...said.matchAll(/^(?:error: )?(?:\d+ errors? occurred: ?)?(\S+\.rego):(\d+): (.+)$/gm)]
  if (placed.length > 0) {
    return placed.slice(0, AT_MOST).map(([, file = '', line = '0', message = '']) => ({
      file,
      line: Number(line),
      message: message.slice(0, LENGTH),
    }))
  }
  return [refused(`${step}: ${said.split('\n', 1)[0] || 'failed without a word'}`)]
}

interface OpaError {
  readonly message?: unknown
  readonly location?: { readonly file?: unknown; readonly row?: unknown }
}

function listedErrors(said: string): readonly Problem[] {
  const errors = (parsed(said) as { readonly errors?: readonly OpaError[] } | undefined)?.errors
  if (!Array.isArray(errors)) return []
  return (errors as readonly OpaError[]).map(({ message, location }) => ({
    file: String(location?.file ?? ''),
    line: Number(location?.row ?? 0),
    message: String(message ?? 'unknown').slice(0, LENGTH),
  }))
}

interface TestResult {
  readonly name?: unknown
  readonly package?: unknown
  readonly fail?: unknown
  readonly error?: unknown
  readonly location?: { readonly file?: unknown; readonly row?: unknown }
}

/** What `opa test` says: how many tests passed, and which did not. */
export function testProblems(result: ChildResult): {
  readonly count: number
  readonly problems: readonly Problem[]
} {
  const results = parsed(result.stdout)
  if (!Array.isArray(results)) return { count: 0, problems: problemsIn(result, 'opa test') }
  const tests = results as readonly TestResult[]
  const failures = tests.filter(({ fail, error }) => fail === true || error !== undefined)
  const problems = failures.slice(0, AT_MOST).map(({ name, location, error }) => ({
    file: String(location?.file ?? ''),
    line: Number(location?.row ?? 0),
    message: `test ${String(name)} ${error === undefined ? 'fails' : 'breaks'}`.slice(0, LENGTH),
  }))
  if (problems.length === 0 && result.code !== 0)
    return { count: 0, problems: problemsIn(result, 'opa test') }
  return { count: tests.length - failures.length, problems }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
