import type {
  Policy as PolicyMessage,
  Snapshot as SnapshotMessage,
} from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Installed, PolicyModule } from '../ports.ts'
import { createTurns } from '../turns.ts'
import { parseSnapshot } from './snapshot.ts'
import type { TrustStore } from './store.ts'

/** Loads and self-tests a policy beside the one in use. Rejects with a Fault that says what is wrong with it. */
export type PreparePolicy = (files: ReadonlyMap<string, Uint8Array>) => Promise<PolicyModule>
/** Content of a file by the SHA-256 of its bytes, in hex; `undefined` when it is not at hand. */
export type Blob = (sha256: string) => Uint8Array | undefined
export type Install = (message: SnapshotMessage, blob: Blob) => Promise<Installed>

/**
 * The one road into trust: parse everything, prepare the policy beside the old one, then swap in one assignment; or refuse
 * with all problems and change nothing. One at a time, in order of arrival.
 */
export function createInstall(store: TrustStore, prepare: PreparePolicy): Install {
  const inTurn = createTurns()
  let policyInUse: { readonly identity: string; readonly module: PolicyModule } | undefined

  const install: Install = async (message, blob) => {
    const current = store.installed()
    if (current && message.generation <= current.generation) {
      return refused([
        `generation: ${message.generation} is not greater than ${current.generation}, which is in use`,
      ])
    }
    const beliefs = parseSnapshot(message, current?.issuers ?? new Map())
    const files = gather(message.policy, blob)
    const problems = [beliefs, files].flatMap((part) => (Array.isArray(part) ? (part as string[]) : []))
    if (!('generation' in beliefs) || !(files instanceof Map)) return refused(problems)

    const identity = identityOf(message.policy)
    if (policyInUse?.identity !== identity) {
      try {
        policyInUse = { identity, module: await prepare(files) }
      } catch (cause) {
        return refused([`policy: ${cause instanceof Error ? cause.message : 'unknown fault'}`])
      }
    }
    store.swap(Object.freeze({ ...beliefs, policy: policyInUse.module }))
    return { ok: true, generation: beliefs.generation }
  }
  return (message, blob) => inTurn(() => install(message, blob))
}

function refused(problems: readonly string[]): Installed {
  return { ok: false, problems }
}

function gather(
  policy: PolicyMessage | undefined,
  blob: Blob,
): ReadonlyMap<string, Uint8Array> | readonly string[] {
  if (!policy || policy.files.length === 0)
    return ['policy.files: empty; a bundle has .manifest and policy.wasm']
  const files = new Map<string, Uint8Array>()
  const problems: string[] = []
  for (const { path, sha256 } of policy.files) {
    const content = blob(sha256.toString('hex'))
    if (content) files.set(path, content)
    else problems.push(`policy.files: content of ${path} is not at hand`)
  }
  return problems.length > 0 ? problems : files
}

// Length-prefixed, so that no path can pretend to be another file's digest.
function identityOf(policy: PolicyMessage | undefined): string {
  const parts = (policy?.files ?? []).map(
    ({ path, sha256 }) => `${path.length}:${path}:${sha256.toString('hex')}`,
  )
  return parts.sort().join('\n')
}
