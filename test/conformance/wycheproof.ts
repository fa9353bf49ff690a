import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

// The test vectors of Project Wycheproof, from the Go module that test/toolchain pins by digest.

export type Result = 'valid' | 'invalid' | 'acceptable'
export type Jwk = Readonly<Record<string, unknown>>

export interface File<Group> {
  readonly numberOfTests: number
  readonly testGroups: readonly Group[]
}

export interface Case {
  readonly tcId: number
  readonly comment: string
  readonly flags: readonly string[]
  readonly result: Result
}

let directory: string | undefined

export function readVectors<Group>(name: string): File<Group> {
  directory ??= modulePath()
  // The shape is the published schema's; a file that strays from it fails in the test that reads it.
  return JSON.parse(readFileSync(join(directory, 'testvectors_v1', name), 'utf8')) as File<Group>
}

function modulePath(): string {
  const toolchain = resolve(import.meta.dirname, '../toolchain/toolchain.sh')
  const stdio = ['ignore', 'pipe', 'inherit'] as const
  return execFileSync('bash', [toolchain, 'path', 'wycheproof'], {
    encoding: 'utf8',
    stdio: [...stdio],
  }).trim()
}
