import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stringify } from 'yaml'
import { type Exit, until } from '../fixtures/process.ts'
import { ROOT, SHIPPED_MEMORY, type Tree } from '../fixtures/sidecar.ts'

// A sidecar whose decision log goes into a pipe that nobody reads.

export interface Unread extends AsyncDisposable {
  readonly pid: number
  readonly unix: string
  readonly adminAddress: string
  // Lines of the operational log, which is read.
  readonly said: readonly string[]
  readonly exited: Promise<Exit>
  // Starts to read; what came so far, and resolves at the end of the pipe.
  drain(): Promise<readonly string[]>
}

const SETPRIV = '/usr/bin/setpriv'

export async function startUnread(config: Tree, directory: string): Promise<Unread> {
  const unix = join(directory, 'unread', 'check.sock')
  mkdirSync(join(directory, 'unread'), { mode: 0o750 })
  const file = join(directory, 'unread.yaml')
  const complete = { version: 1, listen: { unix }, admin: { listen: '127.0.0.1:0' }, ...config }
  writeFileSync(file, stringify(complete))
  const node = [process.execPath, join(ROOT, 'sidecar/main.ts'), '--config', file]
  // Ends with the test process, however that ends.
  const [command = '', ...args] = existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', 'KILL', '--', ...node] : node
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...process.env, ...SHIPPED_MEMORY },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.pause()
  const said: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => said.push(line))
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code: code ?? undefined, signal: signal ?? undefined }))
  })
  const listening = () => said.map(addressIn).find((address) => address !== undefined)
  const loaded = () => said.find((line) => line.includes('"event":"loaded"'))
  const adminAddress = await until('listening event', listening, { withinMs: 60_000 })
  await until('loaded event', loaded, { withinMs: 60_000 })
  return {
    pid: child.pid ?? 0,
    unix,
    adminAddress,
    said,
    exited,
    drain: async () => {
      const lines: string[] = []
      const reader = createInterface({ input: child.stdout })
      for await (const line of reader) lines.push(line)
      return lines
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      child.stdout.destroy()
      await exited
    },
  }
}

function addressIn(line: string): string | undefined {
  return /"event":"listening".*"admin":"([^"]+)"/.exec(line)?.[1]
}
