import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

// A server that can be stopped, frozen and started again with the same arguments, and never outlives its owner.

// util-linux; without it a test process that is itself killed leaves the server running.
const SETPRIV = '/usr/bin/setpriv'
// etcd waits for its clients, and they for it.
const GRACE_MS = 2000

export interface Program {
  start(): void
  /** SIGTERM, and SIGKILL when it has not gone after 2 s. */
  stop(): Promise<void>
  kill(): Promise<void>
  pause(): void
  resume(): void
  readonly pid: number | undefined
  /** Last lines of both outputs. */
  tail(): string
}

export interface ProgramPlan {
  readonly command: string
  readonly args: readonly string[]
  readonly logFile: string
}

export function createProgram({ command, args, logFile }: ProgramPlan): Program {
  let child: ChildProcess | undefined
  const send = (signal: NodeJS.Signals) => void child?.kill(signal)
  const end = async (signal: NodeJS.Signals) => {
    const ending = child
    if (!ending) return
    const gone = new Promise<void>((resolve) => ending.once('exit', () => resolve()))
    if (ending.exitCode !== null || ending.signalCode !== null) return
    ending.ref()
    ending.kill(signal)
    ending.kill('SIGCONT')
    const patience = new AbortController()
    await Promise.race([gone, sleep(GRACE_MS, undefined, { signal: patience.signal }).catch(() => undefined)])
    patience.abort()
    ending.kill('SIGKILL')
    await gone
  }
  return {
    start: () => {
      child = launch(command, args, logFile)
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    pause: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
    get pid() {
      const alive = child && child.exitCode === null && child.signalCode === null
      return alive ? child?.pid : undefined
    },
    tail: () => readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n'),
  }
}

function launch(command: string, args: readonly string[], logFile: string): ChildProcess {
  const log = openSync(logFile, 'a', 0o600)
  const [program, before] = existsSync(SETPRIV)
    ? [SETPRIV, ['--pdeathsig', 'KILL', '--', command]]
    : [command, []]
  // Its own process group: an interrupt from the terminal reaches the test runner first.
  const stdio = ['ignore', log, log] as const
  const child = spawn(program, [...before, ...args], { stdio: [...stdio], detached: true })
  closeSync(log)
  child.once('error', () => undefined)
  child.unref()
  return child
}
