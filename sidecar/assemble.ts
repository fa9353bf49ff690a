import type { AdminView } from '../contracts/admin.ts'
import type { PostForm } from '../contracts/post.ts'
import { createAsking } from './asking.ts'
import type { Config, Serving } from './config.ts'
import type { InjectedConfig } from './config-injected.ts'
import { createDecide } from './decide.ts'
import type { Feed } from './feed/feed.ts'
import { createOperatorFeed } from './feed/operator.ts'
import { createStandaloneFeed } from './feed/standalone.ts'
import { createClientFiles } from './grants/client-files.ts'
import { createIdentity, type Identity } from './identity/identity.ts'
import { APPLICATION_ENTRYPOINT, type BundleFiles, engineLimits, prepareBundle } from './policy/bundle.ts'
import { createJudge } from './policy/judge.ts'
import { createSigners } from './policy/signature.ts'
import type {
  Fault,
  FetchDocument,
  FormatTime,
  Monotonic,
  Now,
  OwnCredential,
  PolicyModule,
  Random,
  Report,
  Sleep,
} from './ports.ts'
import type { LineLog } from './record/log.ts'
import { createMetrics } from './record/metrics.ts'
import { createRecorder } from './record/recorder.ts'
import { createStatus } from './record/status.ts'
import { createTokenMetrics } from './record/token-metrics.ts'
import { openAdmission } from './serve/admission.ts'
import { createChecks } from './serve/checks.ts'
import type { CredentialService } from './serve/credentials.ts'
import type { Authorizer } from './serve/server.ts'
import { createFamilyGuard, createSharing, type Sharing } from './sharing.ts'
import { admit } from './token/admit.ts'
import { present } from './token/credentials.ts'
import { createPossession, type Possession } from './token/possession.ts'
import { standing } from './token/standing.ts'
import { createVerify } from './token/verify.ts'
import { createFedTrust } from './trust/fed.ts'
import { createInstall } from './trust/install.ts'
import { createKeyAges, type KeyAges } from './trust/key-ages.ts'
import { createKeys, type Keys } from './trust/keys.ts'
import { NO_LEASE } from './trust/lease.ts'
import { createLocalRevocations, denyFirst, type LocalRevocations } from './trust/local-revocations.ts'
import { createReplayMemory } from './trust/replay.ts'
import { createTrustStore, type TrustStore } from './trust/store.ts'
import { createProver, createVouching, noticing } from './vouching.ts'

/** What only the program itself has: clocks, chance, logs, and the signals that end things. */
export interface Surroundings {
  readonly wall: Now
  readonly monotonic: Monotonic
  readonly sleep: Sleep
  readonly random: Random
  /** 32 random bytes of this process. */
  readonly salt: Uint8Array
  /** So many random bytes. */
  readonly chance: (count: number) => Buffer
  readonly format: FormatTime
  readonly fetch: FetchDocument
  readonly post: PostForm
  readonly nextId: () => string
  /** NONCE_SECRET_BYTES of chance. */
  readonly proofSecret: Uint8Array
  readonly version: string
  readonly decisions: LineLog
  readonly report: Report
  readonly life: AbortSignal
  readonly draining: AbortSignal
}

export interface Assembly {
  readonly feed: Feed
  /** Only of an injected sidecar. */
  readonly identity: Identity | undefined
  readonly checks: Authorizer
  readonly ready: () => boolean
  /** What is served on the socket for credentials, where there is one. */
  readonly credentials: readonly CredentialService[]
  /** What replicas share; to be run for as long as the program lives. */
  readonly sharing: Sharing
  readonly view: AdminView
}

/** Wires the rooms: who knows whom is decided here and nowhere else. */
export function assemble(
  config: Config | InjectedConfig,
  floor: PolicyModule,
  around: Surroundings,
): Assembly {
  return 'identity' in config ? injected(config, floor, around) : standalone(config, floor, around)
}

// Beliefs from a file and from identity providers.
function standalone(config: Config, floor: PolicyModule, around: Surroundings): Assembly {
  const local = createLocalRevocations()
  const keyAges = createKeyAges(around.monotonic)
  const store = createTrustStore({ revocations: local, lease: NO_LEASE }, keyAges.seen)
  const install = createInstall(store, prepareWith(config))
  const feed = createStandaloneFeed(config.trust, { ...around, now: around.monotonic, install })
  const { client } = config.trust
  const credential = client
    ? createClientFiles(client, around.monotonic, around.report)
    : async () => undefined
  return answering({ config, floor, store, feed, local, keyAges, identity: undefined, credential }, around)
}

// Beliefs from the operator, to whom the pod's own identity is shown.
function injected(config: InjectedConfig, floor: PolicyModule, around: Surroundings): Assembly {
  const { monotonic, life } = around
  // The identity outlives the draining: whoever still waits for an answer may still need it.
  const identity = createIdentity(config.identity, { ...around, lifetime: life, draining: life })
  const signers = createSigners()
  const rules = { signatureProblem: signers.problem }
  const local = createLocalRevocations()
  const keyAges = createKeyAges(monotonic)
  const told = { rules, local, swapped: keyAges.seen }
  const { store, believe } = createFedTrust({ ...around, ...told, prepare: prepareWith(config) })
  const feed = createOperatorFeed({
    ...around,
    now: monotonic,
    open: identity.open,
    trust: identity.trust,
    signers,
    believe,
  })
  const credential = async () => identity.client()
  return answering({ config, floor, store, feed, local, keyAges, identity, credential }, around)
}

function prepareWith({ limits }: Serving): (files: BundleFiles) => Promise<PolicyModule> {
  return (files) => prepareBundle(files, APPLICATION_ENTRYPOINT, engineLimits(limits.policyMemoryBytes))
}

interface Parts {
  readonly config: Serving
  readonly floor: PolicyModule
  readonly store: TrustStore
  readonly feed: Feed
  readonly local: LocalRevocations
  readonly keyAges: KeyAges
  readonly identity: Identity | undefined
  readonly credential: OwnCredential
}

function keysOf(
  { feed, store, config }: Parts,
  { monotonic: now, sleep, life: lifetime }: Surroundings,
): Keys {
  const { inFlight } = config.limits
  return createKeys({ refresh: feed.refreshKeys, installed: store.installed, now, sleep, lifetime, inFlight })
}

function possessionOf(
  identity: Identity | undefined,
  shared: Sharing['replay'],
  { proofSecret, wall, monotonic }: Surroundings,
): Possession {
  return createPossession({
    secret: proofSecret,
    memory: createReplayMemory(monotonic),
    shared,
    // An injected sidecar has siblings in the other pods, and a proof that one has seen the others have not.
    alone: identity === undefined,
    ownId: identity ? () => identity.client()?.spiffeId : () => '',
    bornAt: wall(),
    now: monotonic,
  })
}

// The same in both modes: from a question to its answer, and what is told about it.
function answering(parts: Parts, around: Surroundings): Assembly {
  const { config, floor, store, feed, local, keyAges, identity } = parts
  const { limits, logDecisions } = config
  const { wall, monotonic, sleep, report, decisions, life, draining } = around
  const tokens = createTokenMetrics()
  const keys = keysOf(parts, around)
  const broke = (fault: Fault) => report('fault', { code: fault.code, problem: fault.message })
  const { prove } = createProver(keys, tokens.telemetry, limits, around)
  const sharing = createSharing(config.redis, { ...around, identity: () => identity?.client() })
  const possession = possessionOf(identity, sharing.replay, around)
  tokens.telemetry.watch({ replayState: possession.replayState, openCircuits: { redis: sharing.missing } })
  const asking = createAsking({
    ...{ ...around, telemetry: tokens.telemetry, prove, current: store.current },
    credential: parts.credential,
    actorToken: identity?.jwtFor,
  })
  const decide = createDecide({
    wall,
    current: store.current,
    present,
    verify: createVerify(prove),
    confirm: asking.confirm,
    bind: noticing(possession.bind, tokens.telemetry, keyAges),
    standing,
    admit,
    spend: possession.spend,
    nonce: possession.nonce,
    judge: createJudge(floor),
    broke,
  })
  const deny = denyFirst(local, () => store.installed()?.issuers, feed.revoke)
  const load = { inFlight: limits.inFlight, lagMs: limits.eventLoopLagMs }
  const admission = openAdmission(load, monotonic, sleep, life)
  const told = { store, feed, keys, keyAges, floor, admission, dropped: decisions.dropped }
  const known = { ...around, ...told, ...(identity ? { identity } : {}) }
  const { readings, view } = createStatus(known)
  const metrics = createMetrics(readings, tokens)
  const record = createRecorder(metrics, logDecisions ? decisions : undefined, wall, around.format)
  const line = { ...{ wall, now: monotonic, sleep, admission }, nextId: around.nextId }
  const { streamWindow, deadlineMs } = limits
  const checks = createChecks({ ...line, decide, record }, { streamWindow, deadlineMs }, draining)
  const asked = { ...line, current: store.current, prove, svid: identity?.validate, broke }
  const log = logDecisions ? decisions : undefined
  const verifyToken = createVouching(asked, tokens.telemetry, log, { ...around, deadlineMs, ...sharing })
  return {
    feed,
    identity,
    checks: { ...checks, verifyToken },
    ready: readings.ready,
    sharing,
    credentials: [
      createFamilyGuard(sharing.families, {
        ...around,
        telemetry: tokens.telemetry,
        revokeEverywhere: (fact, signal) => deny(fact, wall(), signal),
      }),
      asking.exchange,
    ],
    view: {
      ...view,
      facts: () => ({ ...view.facts(), ...identity?.facts() }),
      metrics: metrics.text,
      metricsType: metrics.contentType,
    },
  }
}
