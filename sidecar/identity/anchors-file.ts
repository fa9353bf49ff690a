import { X509Certificate } from 'node:crypto'
import { constants, type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { Report } from '../ports.ts'
import type { IdentitySettings } from '../settings.ts'
import { isAuthority, type KeptRoots, MOST_ROOTS, type TrustState } from './trust.ts'

/**
 * Roots outlive the container. The environment of a pod is as old as the pod: after a rotation its anchors verify nobody any more, and a
 * container that is started again could never reach the issuer. So the roots of the newest trust bundle are kept in the volume of the
 * check socket, which lives as long as the pod, and go before those of the environment.
 *
 * Whoever could write this file could name an operator of their own. That is: this program, which writes only what came over a connection
 * that the roots before it vouched for; and whoever is root on the node or privileged in the pod, who can read this program's keys as well
 * and gains nothing. Every other container has the volume read-only: the injection mounts it so, and the guard policy refuses a pod or an
 * ephemeral container that does not. The volume is memory, is made empty for each pod, and is on no disk and in no other pod.
 */
export interface AnchorsFile {
  /** Takes what an earlier container of this pod has kept, when it is sound; otherwise the anchors of the environment stay. Never rejects. */
  restore(): Promise<void>
  /** Why roots are not kept, or were not believed; empty when all is well. */
  problem(): string
}

/** The part that is read: 8 roots are a tenth of it. */
const BYTES = 64 * 1024
/** Everyone in the pod may read public certificates; nobody needs to write what is only ever replaced. */
const MODE = 0o444

/** From now on each newer bundle that `trust` takes is kept. */
export function createAnchorsFile(
  { anchorsFile: path, trustDomain }: Pick<IdentitySettings, 'anchorsFile' | 'trustDomain'>,
  trust: Pick<TrustState, 'current' | 'resume' | 'watch'>,
  report: Report,
): AnchorsFile {
  let keptSequence = 0
  let problem = ''
  let writing: Promise<void> = Promise.resolve()
  const keep = async (): Promise<void> => {
    const { sequence, roots } = trust.current()
    if (sequence <= keptSequence) return
    try {
      await write(path, textOf({ sequence, roots }, trustDomain))
      keptSequence = sequence
      problem = ''
    } catch (cause) {
      problem = `the roots of trust bundle ${sequence} are not kept in ${path} (${codeOf(cause)}): after a rotation of the root this container cannot start again, and its pod must be recreated`
      report('anchors_not_kept', { problem })
    }
  }
  trust.watch(() => {
    // One after the other, and each writes what is newest by then.
    writing = writing.then(keep)
  })
  return {
    problem: () => problem,
    async restore() {
      const found = await read(path, trustDomain)
      if (found === undefined) return
      if (typeof found === 'string') {
        problem = `${path} ${found}, so the anchors of the environment are believed`
        report('anchors_not_believed', { problem })
        return
      }
      keptSequence = found.sequence
      trust.resume(found)
      report('anchors_restored', { sequence: found.sequence, roots: found.roots.length })
    },
  }
}

// Text around PEM is a comment to everyone who reads PEM (RFC 7468 section 2).
const FILE =
  /^portcullis trust bundle ([1-9]\d{0,15}) of ([a-z0-9._-]{1,255})\n((?:-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----\n)+)$/
const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

function textOf({ sequence, roots }: KeptRoots, trustDomain: string): string {
  const pem = roots.map((root) => new X509Certificate(root).toString())
  return `portcullis trust bundle ${sequence} of ${trustDomain}\n${pem.join('')}`
}

/** What is kept; `undefined` when there is no file, and what is wrong with it when there is a bad one. */
async function read(path: string, trustDomain: string): Promise<KeptRoots | string | undefined> {
  const text = await readText(path).catch((cause: NodeJS.ErrnoException) =>
    cause.code === 'ENOENT' ? undefined : { problem: `cannot be read (${codeOf(cause)})` },
  )
  if (typeof text !== 'string') return text?.problem
  if (text.length > BYTES) return `is larger than ${BYTES} bytes`
  const [, number, domain, pem = ''] = FILE.exec(text) ?? []
  const sequence = Number(number)
  if (!Number.isSafeInteger(sequence)) return 'is damaged'
  if (domain !== trustDomain) return `is of another trust domain than ${trustDomain}`
  const roots = (pem.match(BLOCK) ?? []).map((block) => rootIn(block))
  const sound = roots.filter((root) => root !== undefined)
  return sound.length === roots.length && roots.length <= MOST_ROOTS
    ? { sequence, roots: sound }
    : 'holds something that is not a CA certificate, or too many of them'
}

async function readText(path: string): Promise<string> {
  // Neither a link nor a pipe is ever followed or waited for.
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  const { bytesRead, buffer } = await file.read(Buffer.alloc(BYTES + 1), 0, BYTES + 1, 0)
  return buffer.toString('latin1', 0, bytesRead)
}

// A reader, and the next start, find the former file or the new one, never half of one.
async function write(path: string, text: string): Promise<void> {
  const next = `${path}.next`
  // Left by a container that was killed just here.
  await rm(next, { force: true })
  const file = await open(next, 'wx', MODE)
  try {
    await fill(file, text)
  } finally {
    await file.close()
  }
  await rename(next, path)
}

async function fill(file: FileHandle, text: string): Promise<void> {
  await file.writeFile(text, 'latin1')
  // Whatever the umask says.
  await file.chmod(MODE)
}

function rootIn(block: string): Uint8Array | undefined {
  try {
    const { raw } = new X509Certificate(block)
    return isAuthority(raw) ? raw : undefined
  } catch {
    return undefined
  }
}

function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? 'failed'
}
