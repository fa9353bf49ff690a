import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { forget, tempDirectory } from '../fixtures/process.ts'
import { residentBytes } from './meter.ts'

// Server processes on the server's core, listening on a Unix socket of their own, gone when the bench is.

export interface Command {
  readonly program: string
  readonly args: readonly string[]
}

export interface Place {
  /** Directory of its own, for its files. */
  readonly directory: string
  readonly socket: string
}

/** A running server. Memory in bytes, before anything was asked. */
export interface Host extends AsyncDisposable {
  readonly pid: number
  readonly socket: string
  readonly readyMs: number
  readonly idleBytes: number
}

/** Whether it answers its first question rightly. */
export type Probe = (socket: string) => Promise<boolean>

const READY_WITHIN_MS = 20_000
const EVERY_MS = 2
const SETTLE_MS = 300
// util-linux: ends the server when the bench is killed.
const SETPRIV = '/usr/bin/setpriv'

/** Starts a server and waits until it answers rightly; time to ready is from `spawn` to that answer. */
export async function startHost(core: number, plan: (place: Place) => Command, probe: Probe): Promise<Host> {
  const directory = tempDirectory('bench')
  const run = join(directory, 'run')
  mkdirSync(run, { mode: 0o750 })
  const socket = join(run, 'bench.sock')
  const { program, args } = plan({ directory, socket })
  const guard = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', '--'] : []
  const [command = program, ...before] = [...guard, 'taskset', '-c', String(core), program]
  const output = drainedPipe(directory)
  const startedAt = performance.now()
  const child = spawn(command, [...before, ...args], { stdio: ['ignore', output, 'pipe'] })
  closeSync(output)
  const complaints = keepTail(child)
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) =>
      reject(new Error(`${program} ended with ${code ?? signal}\n${complaints()}`)),
    )
  })
  ended.catch(() => undefined)
  const close = async () => {
    child.kill('SIGKILL')
    await ended.catch(() => undefined)
    forget(directory)
  }
  try {
    await Promise.race([ended, answering(socket, probe)])
  } catch (cause) {
    await close()
    throw new Error(`${program} did not come up: ${cause}\n${complaints()}`, { cause })
  }
  const readyMs = performance.now() - startedAt
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const pid = child.pid ?? 0
  return { pid, socket, readyMs, idleBytes: residentBytes(pid).now, [Symbol.asyncDispose]: close }
}

// What a log collector is to a container: the other end of a real pipe, read on the client's core and thrown
// away.
function drainedPipe(directory: string): number {
  const fifo = join(directory, 'stdout')
  execFileSync('mkfifo', [fifo])
  const reader = spawn('sh', ['-c', 'exec cat <"$0" >/dev/null', fifo], { stdio: 'ignore' })
  reader.unref()
  return openSync(fifo, 'w')
}

const TAIL_CHARACTERS = 4_000

function keepTail(child: ChildProcess): () => string {
  let tail = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_CHARACTERS)
  })
  return () => tail
}

async function answering(socket: string, probe: Probe): Promise<void> {
  const end = performance.now() + READY_WITHIN_MS
  while (performance.now() < end) {
    if (existsSync(socket) && (await probe(socket).catch(() => false))) return
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
  throw new Error(`no right answer within ${READY_WITHIN_MS} ms`)
}

export function writeJson(path: string, content: unknown): string {
  writeFileSync(path, JSON.stringify(content))
  return path
}
