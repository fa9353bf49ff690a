import { bundleDigest } from '../../contracts/bundle-digest.ts'
import type { BundleFile, Delta, Policy, Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Believe, Installed, Sleep } from '../ports.ts'
import { type Blobs, createBlobs } from './blobs.ts'

/** Snapshots and deltas on their way into trust: their policy's files are fetched first, and those of the last two are kept. */
export interface Policies {
  install(snapshot: Snapshot, line: BlobLine): Promise<Installed>
  amend(delta: Delta, line: BlobLine): Promise<Installed>
  /** A stream begins. */
  begin(): void
  /** A snapshot has arrived and waits its turn: the operator hands out the files of the newest one only. */
  announced(generation: number): void
  readonly take: Blobs['take']
  /** Why the newest is not in use; empty when it is. */
  problem(): string
  readonly activations: { readonly ok: number; readonly refused: number }
}

export interface BlobLine {
  readonly want: (sha256: Buffer) => void
  readonly signal: AbortSignal
}

type Files = readonly BundleFile[]

export function createPolicies(believe: Believe, sleep: Sleep): Policies {
  const blobs = createBlobs(sleep)
  const activations = { ok: 0, refused: 0 }
  let problem = 'nothing from the operator yet'
  let current: Files = []
  let previous: Files = []
  let announced = 0
  let waiting: { readonly generation: number; readonly abandon: AbortController } | undefined

  const atHand = ({ files }: Policy): boolean =>
    bundleDigest(files).equals(believe.held().policyDigest) ||
    files.every(({ sha256 }) => blobs.get(sha256.toString('hex')))
  const fetch = async (generation: number, policy: Policy, line: BlobLine): Promise<readonly string[]> => {
    if (generation < announced) return [overtakenBy(announced)]
    const abandon = new AbortController()
    waiting = { generation, abandon }
    const problems = await blobs.fetch(
      policy.files,
      line.want,
      AbortSignal.any([line.signal, abandon.signal]),
    )
    waiting = undefined
    return problems
  }
  const take = async (
    { generation, policy }: { readonly generation: number; readonly policy: Policy | undefined },
    line: BlobLine,
    road: () => Promise<Installed>,
  ): Promise<Installed> => {
    // What would be refused as too old is refused without its files.
    const needed = policy && generation > believe.held().generation && !atHand(policy)
    const problems = needed ? await fetch(generation, policy, line) : []
    const outcome: Installed = problems.length > 0 ? { ok: false, problems } : await road()
    problem = outcome.ok ? '' : outcome.problems.join('; ')
    if (policy && outcome.ok && !sameFiles(policy.files, current)) {
      activations.ok++
      previous = current
      current = policy.files
    }
    if (!outcome.ok) activations.refused++
    // Of one that was not taken the files stay until the next: after a broken stream it comes again.
    blobs.keepOnly(current, previous, policy?.files ?? [])
    return outcome
  }
  return {
    activations,
    problem: () => problem,
    take: blobs.take,
    begin() {
      announced = 0
    },
    announced(generation) {
      announced = Math.max(announced, generation)
      if (waiting && waiting.generation < generation)
        waiting.abandon.abort(new Error(overtakenBy(generation)))
    },
    install: (snapshot, line) => take(snapshot, line, () => believe.install(snapshot, blobs.get)),
    amend: (delta, line) => take(delta, line, () => believe.amend(delta, blobs.get)),
  }
}

function overtakenBy(generation: number): string {
  return `overtaken by generation ${generation} before its files had come`
}

function sameFiles(one: Files, other: Files): boolean {
  return bundleDigest(one).equals(bundleDigest(other))
}
