import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Sidecar } from '../fixtures/sidecar.ts'

// What a sidecar tells of itself, and what the kernel tells of it.

// Value of one series; `labels` as they stand between the braces.
export async function counterAt(sidecar: Sidecar, name: string, labels = ''): Promise<number> {
  const { text } = await sidecar.admin('/metrics')
  const series = labels ? `${name}{${labels}}` : name
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  if (!line) throw new Error(`no series ${series}`)
  return Number(line.slice(series.length + 1))
}

export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

export function alive(pid: number): boolean {
  // A process that ended but was not waited for is still listed, as a zombie.
  const file = `/proc/${pid}/stat`
  return existsSync(file) && !/\) Z /.test(readFileSync(file, 'utf8'))
}

// TCP ports this process listens on.
export function listeningPorts(pid: number): readonly number[] {
  const inodes = new Set(readdirSync(`/proc/${pid}/fd`).map((fd) => inodeOf(`/proc/${pid}/fd/${fd}`)))
  const LISTEN = '0A'
  const rows = ['tcp', 'tcp6'].flatMap((table) => {
    const [, ...lines] = readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n')
    return lines.map((line) => line.trim().split(/\s+/))
  })
  return rows
    .filter((row) => row[3] === LISTEN && inodes.has(row[9] ?? ''))
    .map((row) => Number.parseInt(row[1]?.split(':')[1] ?? '', 16))
    .sort((a, b) => a - b)
}

// Connections that somebody has to this Unix socket (`unix(7)`, state 03), from the side of who listens.
export function connectionsTo(path: string): number {
  const lines = readFileSync('/proc/net/unix', 'utf8').split('\n')
  return lines.filter((line) => line.endsWith(` ${path}`) && line.split(/\s+/)[5] === '03').length
}

function inodeOf(link: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(link))?.[1]
  } catch {
    return undefined
  }
}
