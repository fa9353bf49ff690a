import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

// Directories that say in their name which process made them, so that what a killed one left can be removed.

/** A new directory `<parent>/<prefix><pid>-<chance>`; those of processes that no longer live are removed first. */
export function ownedDirectory(parent: string, prefix: string): string {
  sweep(parent, prefix)
  return mkdtempSync(join(parent, `${prefix}${process.pid}-`))
}

function sweep(parent: string, prefix: string): void {
  for (const name of existsSync(parent) ? readdirSync(parent) : []) {
    if (!name.startsWith(prefix)) continue
    const owner = Number(name.slice(prefix.length).split('-')[0])
    if (Number.isInteger(owner) && !alive(owner)) rmSync(join(parent, name), { recursive: true, force: true })
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM'
  }
}
