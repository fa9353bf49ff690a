import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import type { Sleep } from '../ports.ts'

/** What a child process may take. */
export interface ChildLimits {
  readonly timeoutMs: number
  /** Resident memory, bytes. */
  readonly memoryBytes: number
  /** Of standard output and standard error, each; what comes after ends the child. */
  readonly outputBytes: number
}

export interface ChildResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** What is run, and where. */
export interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly cwd: string
}

const LOOK_EVERY_MS = 50
/** A child inherits nothing: no token, no credentials, no proxy. The memory limit lets Go's collector work before we kill. */
const environment = (memoryBytes: number) => ({
  PATH: '/nowhere',
  GOMEMLIMIT: String(Math.floor(memoryBytes * 0.8)),
})

/**
 * Runs a program to its end inside limits. Rejects with an Error that names the limit when one is passed, and with the signal's
 * reason when that aborts; the child is gone in each case.
 */
export async function runChild(
  command: Command,
  limits: ChildLimits,
  sleep: Sleep,
  signal: AbortSignal,
): Promise<ChildResult> {
  signal.throwIfAborted()
  const { program, args, cwd } = command
  const child = spawn(program, args, {
    cwd,
    env: environment(limits.memoryBytes),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const over = new AbortController()
  const watching = AbortSignal.any([over.signal, signal])
  try {
    return await Promise.race([
      ended(child, limits.outputBytes),
      sleep(limits.timeoutMs, watching).then(() => refuse(`took longer than ${limits.timeoutMs} ms`)),
      watchMemory(child, limits.memoryBytes, sleep, watching),
    ])
  } finally {
    over.abort()
    kill(child)
  }
}

function refuse(why: string): never {
  throw new Error(why)
}

async function ended(child: ChildProcess, outputBytes: number): Promise<ChildResult> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  child.once('error', reject)
  child.once('close', (code, killedBy) => {
    if (killedBy) reject(new Error(`was ended by ${killedBy}`))
    else resolve(code ?? -1)
  })
  const [code, stdout, stderr] = await Promise.all([
    promise,
    gathered(child.stdout, outputBytes),
    gathered(child.stderr, outputBytes),
  ])
  return { code, stdout, stderr }
}

async function gathered(stream: AsyncIterable<Buffer> | null, outputBytes: number): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream ?? []) {
    length += chunk.length
    if (length > outputBytes) throw new Error(`wrote more than ${outputBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

// The kernel tells the resident pages of a process; where it does not (not Linux), time and output are the limits.
async function watchMemory(
  child: ChildProcess,
  memoryBytes: number,
  sleep: Sleep,
  signal: AbortSignal,
): Promise<never> {
  for (;;) {
    await sleep(LOOK_EVERY_MS, signal)
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '')
    const kib = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0)
    if (kib * 1024 > memoryBytes) throw new Error(`took more than ${memoryBytes} bytes of memory`)
  }
}

// The whole process group, so that nothing it started stays behind.
function kill(child: ChildProcess): void {
  if (child.exitCode !== null || child.pid === undefined) return
  try {
    process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
