import { createHash } from 'node:crypto'
import { bundleDigest } from '../../contracts/bundle-digest.ts'
import type { PolicyBundle } from '../../contracts/crd/policy-bundle.ts'
import type { Compile, CompiledBundle } from '../gather/compile.ts'
import type { PolicySources } from '../gather/policy-tree.ts'
import { type Read, sourceDigest } from '../gather/sources.ts'
import {
  type BundleHead,
  formatPart,
  headName,
  partName,
  partsOf,
  type StoredFile,
} from '../ledger/bundle-facts.ts'
import { writtenHead } from '../ledger/facts.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { Fault } from '../ports.ts'
import type { Attempt } from '../reconcile/policy-bundle.ts'
import { createReader, type ReadSources, readAgainMs, type SourceNeeds } from './sources.ts'

/** A signature by the active bundle key, made by the issuer: this program holds no such key. */
export interface BundleSignature {
  readonly keyId: string
  readonly value: Buffer
}

export interface BundleKeepingNeeds extends SourceNeeds {
  readonly ledger: Ledger
  readonly compile: Compile
  readonly sign: (digest: Buffer, signal: AbortSignal) => Promise<BundleSignature>
}

export interface BundleKeeping {
  /** Brings one PolicyBundle up to date. Resolves with the time after which its source is to be looked at again, if ever. */
  settle(bundle: PolicyBundle, signal: AbortSignal): Promise<{ readonly againMs: number | undefined }>
  /** Signs what is in force anew, after the bundle key has changed. */
  signAgain(key: string, signal: AbortSignal): Promise<void>
  forget(key: string, signal: AbortSignal): Promise<void>
  attempt(key: string): Attempt | undefined
}

const UNSIGNED_MS = 2_000

/** Compiles, has signed and stores the rules. Only for the leader, whose writes are fenced. */
export function createBundleKeeping(needs: BundleKeepingNeeds): BundleKeeping {
  const { ledger } = needs
  const attempts = new Map<string, Attempt>()
  const readers = new Map<string, ReadSources>()
  const headOf = (key: string) => ledger.facts('bundle').get(headName(key))?.head
  return {
    attempt: (key) => attempts.get(key),
    async settle(bundle, signal) {
      const key = keyOf(bundle)
      const reader = readers.get(key) ?? createReader(needs)
      readers.set(key, reader)
      const read = await reader(bundle, signal)
      const attempt = await attemptOf(
        bundle,
        read,
        { needs, head: headOf(key), before: attempts.get(key) },
        signal,
      ).catch((cause: unknown) => {
        signal.throwIfAborted()
        const message = `the compiler cannot be used (${Fault.from(cause).message}); see the log of portcullis-control`
        attempts.set(key, { sourceDigest: '', outcome: { kind: 'unreadable', message } })
        throw cause
      })
      attempts.set(key, attempt)
      return { againMs: attempt.outcome.kind === 'unsigned' ? UNSIGNED_MS : readAgainMs(bundle) }
    },
    async signAgain(key, signal) {
      const head = headOf(key)
      if (!head) return
      const signature = await needs.sign(digestOf(head.files), signal)
      if (signature.keyId !== head.signature.keyId)
        await written(ledger.write(writtenHead({ ...head, signature }), signal))
    },
    async forget(key, signal) {
      attempts.delete(key)
      readers.delete(key)
      await ledger.remove(headName(key), signal)
      await removeParts(ledger, key, new Set(), signal)
    },
  }
}

interface Circumstances {
  readonly needs: BundleKeepingNeeds
  readonly head: BundleHead | undefined
  readonly before: Attempt | undefined
}

/** Nothing is compiled twice: not what is in force, and not what was refused. */
async function attemptOf(
  bundle: PolicyBundle,
  read: Read<PolicySources>,
  { needs, head, before }: Circumstances,
  signal: AbortSignal,
): Promise<Attempt> {
  if (!read.ok) return { sourceDigest: '', outcome: { kind: 'unreadable', message: read.message } }
  const digest = sourceDigest(read.value, bundle.spec.tests)
  if (head?.sourceDigest === digest) {
    return {
      sourceDigest: digest,
      outcome: { kind: 'signed', tests: head.tests, keyId: head.signature.keyId },
    }
  }
  if (before?.sourceDigest === digest && before.outcome.kind === 'refused') return before
  const compiled = await needs.compile(read.value, bundle.spec.tests, signal)
  if (!compiled.ok) {
    const { stage, problems } = compiled
    return { sourceDigest: digest, outcome: { kind: 'refused', stage, problems } }
  }
  try {
    const keyId = await publish(needs, { key: keyOf(bundle), sourceDigest: digest }, compiled.bundle, signal)
    return { sourceDigest: digest, outcome: { kind: 'signed', tests: compiled.bundle.tests, keyId } }
  } catch (cause) {
    signal.throwIfAborted()
    return { sourceDigest: digest, outcome: { kind: 'unsigned', message: Fault.from(cause).message } }
  }
}

// Parts first, the head last: a head never names what is not there.
async function publish(
  { ledger, sign }: BundleKeepingNeeds,
  about: Pick<BundleHead, 'key' | 'sourceDigest'>,
  compiled: CompiledBundle,
  signal: AbortSignal,
): Promise<string> {
  const files = [...compiled.files].map(([path, content]) => storedFile(path, content))
  const signature = await sign(digestOf(files), signal)
  for (const part of partsOf(about.key, compiled.files)) {
    if (ledger.facts('bundle-part').has(partName(part))) continue
    await written(ledger.write({ kind: 'bundle-part', ...formatPart(part) }, signal))
  }
  const { revision, tests } = compiled
  await written(ledger.write(writtenHead({ ...about, revision, tests, files, signature }), signal))
  await removeParts(ledger, about.key, new Set(files.map(({ sha256 }) => sha256)), signal)
  return signature.keyId
}

async function written(done: Promise<boolean>): Promise<void> {
  if (!(await done)) throw new Fault('conflict', 'another replica has written meanwhile; trying again')
}

async function removeParts(
  ledger: Ledger,
  key: string,
  kept: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<void> {
  for (const [name, { part }] of ledger.facts('bundle-part')) {
    if (part.key === key && !kept.has(part.sha256)) await ledger.remove(name, signal)
  }
}

function storedFile(path: string, content: Buffer): StoredFile {
  return { path, sha256: createHash('sha256').update(content).digest('hex'), size: content.length }
}

function digestOf(files: readonly StoredFile[]): Buffer {
  return bundleDigest(files.map(({ path, sha256 }) => ({ path, sha256: Buffer.from(sha256, 'hex') })))
}

function keyOf({ metadata }: PolicyBundle): string {
  return `${metadata.namespace}/${metadata.name}`
}
