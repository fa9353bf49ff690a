import { hash } from 'node:crypto'
import type { BundleFile, Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createTurns } from '../../contracts/turns.ts'
import type { Installed, Now, Report, Sleep } from '../ports.ts'
import type { StandaloneConfig } from '../settings.ts'
import { fingerprint, readBundle } from './bundle-files.ts'
import type { Feed } from './feed.ts'
import { createJwksSource, type JwksSource, type JwksSourceNeeds } from './jwks-source.ts'

export interface StandaloneNeeds extends Omit<JwksSourceNeeds, 'publish'> {
  readonly wall: Now
  readonly sleep: Sleep
  readonly report: Report
  readonly install: (
    message: Snapshot,
    blob: (sha256: string) => Uint8Array | undefined,
  ) => Promise<Installed>
}

export interface StandaloneFeed extends Feed {
  readonly sources: readonly JwksSource[]
  readonly stream: undefined
}

const POLL_MS = 2_000
const REREADS = 3

type Files = ReadonlyMap<string, Buffer>

/** Turns configuration and files into the same Snapshot message that an operator sends. */
export function createStandaloneFeed(config: StandaloneConfig, needs: StandaloneNeeds): StandaloneFeed {
  const ledger = createLedger(config, needs)
  // Keys and policy change independently; each snapshot must carry the newest of both.
  const inTurn = createTurns()
  let seen = ''

  const mark = () => fingerprint(config.policyPath).catch((cause: Error) => `unreadable: ${cause.message}`)
  const read = () => readBundle(config.policyPath).catch((cause: Error) => cause.message)
  const readPolicy = async (force: boolean): Promise<void> => {
    let before = await mark()
    if (before === seen && !force) return
    let files = await read()
    // Swapped between two of its files, it was read half old and half new: read it again.
    for (let again = 0; again < REREADS; again++) {
      const after = await mark()
      if (after === before) break
      before = after
      files = await read()
    }
    seen = before
    await ledger.offerBundle(files)
  }
  const publish = (issuer: string, document: Buffer) => inTurn(() => ledger.offerKeys(issuer, document))
  const sources = config.issuers.map((issuer) => createJwksSource(issuer, { ...needs, publish }))
  const sourceOf = (issuer: string) => sources.find((source) => source.issuer === issuer)
  const remote = config.issuers.filter(({ location }) => location.kind !== 'file')
  const files = config.issuers.flatMap(({ issuer, location }) =>
    location.kind === 'file' ? [{ issuer, path: location.path }] : [],
  )
  const marks = new Map<string, string>()
  // The mark is taken before the file is read, so that a change in between is seen the next time.
  const readChangedKeys = async (signal: AbortSignal): Promise<void> => {
    for (const { issuer, path } of files) {
      const now = await fingerprint(path).catch(() => 'unreadable')
      if (marks.get(issuer) === now) continue
      marks.set(issuer, now)
      await sourceOf(issuer)?.refresh(signal)
    }
  }
  return {
    sources,
    stream: undefined,
    activations: ledger.activations,
    bundleProblem: ledger.bundleProblem,
    async load(signal) {
      // One provider that hangs delays neither the policy nor the keys of the others.
      const fetches = remote.map(({ issuer }) => sourceOf(issuer)?.refresh(signal))
      await Promise.all([...fetches, readChangedKeys(signal), inTurn(() => readPolicy(true))])
    },
    async run(signal) {
      await Promise.all([
        ...remote.map(({ issuer }) => sourceOf(issuer)?.run(signal)),
        poll(() => readChangedKeys(signal), needs.sleep, signal),
        poll(() => inTurn(() => readPolicy(false)), needs.sleep, signal),
      ])
    },
    async reload(signal) {
      for (const { issuer } of files) await sourceOf(issuer)?.refresh(signal)
      await inTurn(() => readPolicy(true))
    },
    revoke: async () => 'stored',
    refreshKeys: async (issuer, signal) => (await sourceOf(issuer)?.refresh(signal)) ?? false,
  }
}

interface Document {
  readonly bytes: Buffer
  /** As in feed.proto: 0 for keys given by configuration. */
  readonly notAfterMs: number
}

/** The newest good keys and policy, and the generation they were last published under. */
interface Ledger {
  offerKeys(issuer: string, bytes: Buffer): Promise<boolean>
  /** Files, or why there are none. */
  offerBundle(files: Files | string): Promise<void>
  bundleProblem(): string
  readonly activations: { ok: number; refused: number }
}

function createLedger(config: StandaloneConfig, { install, report, wall }: StandaloneNeeds): Ledger {
  const documents = new Map<string, Document>()
  const activations = { ok: 0, refused: 0 }
  let bundle: Files | undefined
  let bundleProblem = 'not read yet'
  let generation = 0

  const publish = (files: Files): Promise<Installed> => {
    const blobs = new Map([...files.values()].map((content) => [hash('sha256', content), content]))
    generation++
    return install(messageFor(config, generation, files, documents), (sha256) => blobs.get(sha256))
  }
  const refuse = (problem: string) => {
    activations.refused++
    bundleProblem = problem
    report('bundle_refused', { path: config.policyPath, problem })
  }
  return {
    activations,
    bundleProblem: () => bundleProblem,
    async offerKeys(issuer, bytes) {
      const isFile = config.issuers.some((one) => one.issuer === issuer && one.location.kind === 'file')
      const before = documents.get(issuer)
      documents.set(issuer, { bytes, notAfterMs: isFile ? 0 : wall() + config.jwksStaleMs })
      // Before the first good bundle there is nothing to install into; the keys wait for it.
      if (!bundle) return true
      const installed = await publish(bundle)
      if (installed.ok) return true
      if (before) documents.set(issuer, before)
      else documents.delete(issuer)
      report('snapshot_refused', { problems: installed.problems })
      return false
    },
    async offerBundle(files) {
      if (typeof files === 'string') return refuse(files)
      const installed = await publish(files)
      if (!installed.ok) return refuse(installed.problems.join('; '))
      bundle = files
      bundleProblem = ''
      activations.ok++
      report('bundle_activated', { path: config.policyPath, revision: revisionIn(files), generation })
    },
  }
}

async function poll(read: () => Promise<void>, sleep: Sleep, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(POLL_MS, signal)
    await read()
  }
}

function messageFor(
  config: StandaloneConfig,
  generation: number,
  files: Files,
  documents: ReadonlyMap<string, Document>,
): Snapshot {
  const { audience, exclusiveAudience, maxTokenLifetimeS } = config
  return {
    generation,
    profile: {
      ...{ audience, exclusiveAudience, maxTokenLifetimeS },
      leases: undefined,
      routes: [...config.routes],
      tokens: config.tokens,
    },
    issuers: config.issuers.map(({ issuer, algorithms, skewS, tenant, location, terms }) => {
      const document = documents.get(issuer)
      return {
        issuer,
        algorithms: [...algorithms],
        skewS,
        tenant,
        keys: {
          jwks: document?.bytes ?? Buffer.alloc(0),
          notAfterMs: document?.notAfterMs ?? 0,
          refreshable: location.kind !== 'file',
        },
        revokedKids: [],
        source: '',
        ...terms,
      }
    }),
    policy: { revision: revisionIn(files), files: [...files].map(bundleFile), signature: undefined },
    withheld: '',
  }
}

function bundleFile([path, content]: readonly [string, Buffer]): BundleFile {
  return { path, sha256: hash('sha256', content, 'buffer'), size: content.length }
}

function revisionIn(files: Files): string {
  try {
    const manifest: unknown = JSON.parse(files.get('.manifest')?.toString('utf8') ?? '{}')
    const revision = (manifest as { revision?: unknown }).revision
    return typeof revision === 'string' ? revision.slice(0, 128) : ''
  } catch {
    return ''
  }
}
