import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { tool } from '../cluster-node/tool.ts'
import { archive, layer } from './oci.ts'

// What every node needs before its first pod: the sandbox's image and CoreDNS.

/** Paths of OCI archives, made anew: 0.5 s, and never stale. */
export async function openBaseImages(): Promise<readonly string[]> {
  return [writeArchive('pause', pause()), writeArchive('coredns', await coredns())]
}

/** Where archives are put: beside the toolchain's cache, outside the checkout. */
export function imageDirectory(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'portcullis/images')
}

/** Under a name that says the content, so that two runs at once cannot disturb each other. */
export function writeArchive(name: string, { bytes, digest }: { bytes: Buffer; digest: string }): string {
  const directory = imageDirectory()
  mkdirSync(directory, { recursive: true })
  const path = join(directory, `${name}-${digest.slice(7, 19)}.tar`)
  const temporary = `${path}.${process.pid}`
  writeFileSync(temporary, bytes)
  renameSync(temporary, path)
  prune(directory)
  return path
}

// An archive is made anew whenever it is asked for, so an old one is of an old state of the sources.
function prune(directory: string): void {
  const old = Date.now() - KEPT_MS
  for (const name of readdirSync(directory)) {
    const path = join(directory, name)
    const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs
    if (changed !== undefined && changed < old) rmSync(path, { force: true })
  }
}

const KEPT_MS = 2 * 24 * 3600 * 1000

function pause(): ReturnType<typeof archive> {
  const content = readFileSync('/usr/bin/catatonit')
  return archive({
    ref: 'portcullis.test/pause:1',
    layers: [layer([{ path: 'catatonit', mode: 0o755, content }])],
    entrypoint: ['/catatonit', '-P'],
    user: '65535:65535',
  })
}

async function coredns(): Promise<ReturnType<typeof archive>> {
  const content = readFileSync(await tool('coredns'))
  return archive({
    ref: 'portcullis.test/coredns:1',
    layers: [layer([{ path: 'coredns', mode: 0o755, content }])],
    entrypoint: ['/coredns'],
    user: '65532:65532',
  })
}
