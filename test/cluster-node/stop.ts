import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { stateDirectory } from './layout.ts'
import { eventually } from './ready.ts'
import { livingInit } from './start.ts'

// Ends one cluster and removes what the kernel leaves. Only its own PID 1 is killed, known by when it started.

const run = promisify(execFile)
const SWEEP = join(import.meta.dirname, 'node/sweep.sh')

/** Whether there was anything: a living cluster, or remains of a killed one. */
export async function stopCluster(name: string): Promise<boolean> {
  const state = join(stateDirectory(), name)
  const init = livingInit(state)
  if (init) {
    process.kill(init.pid, 'SIGKILL')
    await eventually(`end of ${name}`, () => livingInit(state) === undefined || undefined, { everyMs: 10 })
  }
  if (!existsSync(state)) return false
  const lock = join(stateDirectory(), `.${name}.lock`)
  // Free once the last process of the node is gone; held meanwhile, so that no start meets this sweep.
  const sweep = ['sh', '-c', 'bash "$1" "$2" && rm -f "$3"', 'sh', SWEEP, state, lock]
  await run('flock', ['-w', '20', lock, ...sweep])
  return true
}

/** Names of the clusters of this user, living or not. */
export function knownClusters(): readonly string[] {
  const directory = stateDirectory()
  if (!existsSync(directory)) return []
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
}
