import { bundleDigest } from '../../contracts/bundle-digest.ts'
import type {
  Policy as PolicyMessage,
  Snapshot as SnapshotMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createTurns } from '../../contracts/turns.ts'
import type { BlobByDigest, Installed, PolicyModule } from '../ports.ts'
import { type Issuer, parseSnapshot } from './snapshot.ts'
import type { TrustStore } from './store.ts'

/** Loads and self-tests a policy beside the one in use. Rejects with a Fault that says what is wrong with it. */
export type PreparePolicy = (files: ReadonlyMap<string, Uint8Array>) => Promise<PolicyModule>
export type Blob = BlobByDigest
export type Install = (message: SnapshotMessage, blob: Blob) => Promise<Installed>

/** What an operator's snapshots must keep beyond the form. */
export interface InstallRules {
  /** Why this signature does not vouch for the digest; empty when it does. */
  readonly signatureProblem: (signature: PolicyMessage['signature'], digest: Buffer) => string
}

interface PolicyInUse {
  readonly digest: Buffer
  readonly module: PolicyModule
}

/**
 * The one road into trust: parse everything, prepare the policy beside the old one, then swap in one assignment; or refuse
 * with all problems and change nothing. One at a time, in order of arrival; but a snapshot that withholds everything waits for no
 * policy to compile. `rules` are those of a pushed snapshot; without them it is our own configuration that speaks.
 */
export function createInstall(store: TrustStore, prepare: PreparePolicy, rules?: InstallRules): Install {
  const inTurn = createTurns()
  let policyInUse: PolicyInUse | undefined
  // Lends imported keys to the next snapshot, also when one that withheld everything came in between.
  let lastIssuers: ReadonlyMap<string, Issuer> = new Map()

  const install: Install = async (message, blob) => {
    const astray = misnumbered(message.generation, store)
    if (astray) return astray
    const beliefs = parseSnapshot(message, lastIssuers)
    const policy = readPolicy(message.policy, policyInUse, rules)
    const files = policy.ok && policy.changed ? gather(policy.message, blob) : undefined
    const problems = [
      beliefs,
      leaseProblems(message, rules),
      policy.ok ? [] : policy.problems,
      files,
    ].flatMap((part) => (Array.isArray(part) ? (part as string[]) : []))
    if (!('generation' in beliefs) || !policy.ok || problems.length > 0) return refused(problems)

    const prepared = files instanceof Map ? await attempt(prepare, files, policy.digest) : policyInUse
    if (typeof prepared === 'string') return refused([prepared])
    policyInUse = prepared
    // While a policy compiled, everything may have been withheld.
    const overtaken = misnumbered(message.generation, store)
    if (overtaken || !prepared) return overtaken ?? refused(['policy: not at hand'])
    lastIssuers = beliefs.issuers
    const { module, digest } = prepared
    store.swap(Object.freeze({ ...beliefs, ...store.pushed, policy: module, policyDigest: digest }))
    return { ok: true, generation: beliefs.generation }
  }
  return async (message, blob) => {
    if (message.withheld === '') return inTurn(() => install(message, blob))
    const astray = misnumbered(message.generation, store)
    if (astray) return astray
    store.withhold(message.generation, message.withheld.slice(0, WITHHELD_CHARACTERS))
    return { ok: true, generation: message.generation }
  }
}

const WITHHELD_CHARACTERS = 512

function refused(problems: readonly string[]): Installed & { readonly ok: false } {
  return { ok: false, problems }
}

/**
 * No operator counts this far in the life of a process. Whoever would have us take a number near the end of all numbers leaves none for
 * the snapshots after it.
 */
const FARTHEST_AHEAD = 2 ** 40

function misnumbered(generation: number, store: TrustStore): Installed | undefined {
  const current = store.generation()
  if (!Number.isSafeInteger(generation))
    return refused([`generation: ${generation} is no number to count with`])
  if (generation <= current)
    return refused([`generation: ${generation} is not greater than ${current}, which is in use`])
  return generation - current > FARTHEST_AHEAD
    ? refused([`generation: ${generation} is too far ahead of ${current}, which is in use`])
    : undefined
}

function leaseProblems({ profile }: SnapshotMessage, rules: InstallRules | undefined): readonly string[] {
  return rules && !profile?.leases ? ['profile.leases: unset; needed where revocations are pushed'] : []
}

async function attempt(
  prepare: PreparePolicy,
  files: ReadonlyMap<string, Uint8Array>,
  digest: Buffer,
): Promise<PolicyInUse | string> {
  try {
    return { digest, module: await prepare(files) }
  } catch (cause) {
    return `policy: ${cause instanceof Error ? cause.message : 'unknown fault'}`
  }
}

const FILES = 64

type ReadPolicy =
  | { readonly ok: true; readonly message: PolicyMessage; readonly digest: Buffer; readonly changed: boolean }
  | { readonly ok: false; readonly problems: readonly string[] }

// What is in use was vouched for when it came in: a key that has left the trust bundle since then must not hold up key sets or routes.
function readPolicy(
  policy: PolicyMessage | undefined,
  inUse: PolicyInUse | undefined,
  rules: InstallRules | undefined,
): ReadPolicy {
  if (!policy || policy.files.length === 0)
    return { ok: false, problems: ['policy.files: empty; a bundle has .manifest and policy.wasm'] }
  const { files, signature } = policy
  const paths = new Set(files.map(({ path }) => path))
  if (files.length > FILES || paths.size !== files.length)
    return { ok: false, problems: [`policy.files: must be at most ${FILES}, each path once`] }
  if (files.some(({ sha256 }) => sha256.length !== 32))
    return { ok: false, problems: ['policy.files: sha256 must be 32 bytes'] }
  const digest = bundleDigest(files)
  const changed = !inUse?.digest.equals(digest)
  const problem = changed ? rules?.signatureProblem(signature, digest) : ''
  return problem
    ? { ok: false, problems: [`policy.signature: ${problem}`] }
    : { ok: true, message: policy, digest, changed }
}

function gather(policy: PolicyMessage, blob: Blob): ReadonlyMap<string, Uint8Array> | readonly string[] {
  const files = new Map<string, Uint8Array>()
  const problems: string[] = []
  for (const { path, sha256 } of policy.files) {
    const content = blob(sha256.toString('hex'))
    if (content) files.set(path, content)
    else problems.push(`policy.files: content of ${path} is not at hand`)
  }
  return problems.length > 0 ? problems : files
}
