import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Layout, RANGES } from './layout.ts'
import { type Material, writeMaterial } from './material.ts'
import { ownedDirectory } from './owned.ts'
import { eventually } from './ready.ts'

// From files to a running node: locks, namespaces, the pair of interfaces.

/** PID 1 of a node: a process id and when it started, as a process id alone may come to mean another process. */
export interface Init {
  readonly pid: number
  readonly started: string
}

/** Another cluster has the name or the slot; the next one may be free. */
export class Taken extends Error {
  readonly what: 'name' | 'slot'
  constructor(what: 'name' | 'slot', message: string) {
    super(message)
    this.name = 'Taken'
    this.what = what
  }
}

export interface Started {
  readonly init: Init
  /** Attached: holds the lifeline. The node ends when this process does. */
  readonly unshare: ChildProcess
}

const LAUNCH = join(import.meta.dirname, 'node/launch.sh')

export async function startNode(material: Material, detached: boolean): Promise<Started> {
  const { layout } = material
  refuseForeignRoutes()
  const parent = dirname(layout.state)
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  const staged = ownedDirectory(parent, '.staged-')
  try {
    await writeMaterial(staged, material)
    // A client that outlives its cluster must not reach the default gateway; a live cluster's routes are longer.
    for (const range of RANGES) ip('route', 'replace', 'unreachable', range)
    const unshare = launch(layout, staged, detached)
    return { init: await connect(layout, unshare), unshare }
  } finally {
    rmSync(staged, { recursive: true, force: true })
  }
}

/** PID 1 of the cluster in this state directory, when it lives. */
export function livingInit(state: string): Init | undefined {
  const file = join(state, 'init')
  if (!existsSync(file)) return undefined
  const [pid = '', started = ''] = readFileSync(file, 'utf8').trim().split(' ')
  return startOf(Number(pid)) === started ? { pid: Number(pid), started } : undefined
}

function launch(layout: Layout, staged: string, detached: boolean): ChildProcess {
  const args = [layout.name, String(layout.slot), staged, layout.state, detached ? 'detached' : 'attached']
  // Its own session: an interrupt from the terminal goes to the owner, whose end then ends the node.
  return spawn('bash', [LAUNCH, ...args], {
    detached: true,
    stdio: [detached ? 'ignore' : 'pipe', 'ignore', 'inherit'],
  })
}

async function connect(layout: Layout, unshare: ChildProcess): Promise<Init> {
  let ended: number | undefined
  unshare.once('exit', (code) => {
    ended = code ?? -1
  })
  const init = await eventually(
    `PID 1 of ${layout.name}`,
    () => {
      if (ended !== undefined) throw failure(layout, ended)
      return findInit(unshare.pid ?? 0)
    },
    { withinMs: 20_000, everyMs: 10 },
  )
  writeFileSync(join(layout.state, 'init'), `${init.pid} ${init.started}\n`)
  ip('link', 'add', layout.hostInterface, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(init.pid))
  ip('addr', 'add', `${layout.hostAddress}/30`, 'dev', layout.hostInterface)
  ip('link', 'set', layout.hostInterface, 'up')
  return init
}

function failure({ name, slot }: Layout, code: number): Error {
  if (code === 40) return new Taken('name', `cluster ${name} is already running: make cluster-down ends it`)
  if (code === 41) return new Taken('slot', `slot ${slot} is taken by another cluster`)
  return new Error(`the node of ${name} ended with ${code} before it began`)
}

/** The only child of `unshare`, once it is in a network namespace of its own. */
function findInit(unshare: number): Init | undefined {
  try {
    const children = readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8').trim().split(' ')
    const pid = Number(children[0])
    // The launching script has children too, in the host's namespace.
    if (!pid || readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net')) return undefined
    const started = startOf(pid)
    return started ? { pid, started } : undefined
  } catch {
    return undefined
  }
}

/** Clock ticks since boot at which a process started (field 22 of its stat), if it lives and is no zombie. */
function startOf(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

function refuseForeignRoutes(): void {
  for (const range of RANGES) {
    const lines = ip('route', 'show', 'exact', range)
      .split('\n')
      .filter((line) => line !== '')
    const foreign = lines.find((line) => !line.startsWith('unreachable'))
    if (foreign)
      throw new Error(`this machine already routes ${range} (${foreign.trim()}); a cluster needs it`)
  }
}

export function ip(...args: readonly string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}
