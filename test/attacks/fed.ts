import { resolve } from 'node:path'
import type { Revocation, Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createDecide, type Steps } from '../../sidecar/decide.ts'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { engineLimits, FLOOR_ENTRYPOINT, prepareBundle } from '../../sidecar/policy/bundle.ts'
import { createJudge } from '../../sidecar/policy/judge.ts'
import type { Installed, RefreshKeys } from '../../sidecar/ports.ts'
import { admit } from '../../sidecar/token/admit.ts'
import { present } from '../../sidecar/token/credentials.ts'
import { standing } from '../../sidecar/token/standing.ts'
import { createProve, createVerify, forgetful } from '../../sidecar/token/verify.ts'
import { createKeys } from '../../sidecar/trust/keys.ts'
import { signingKey } from '../fixtures/keys.ts'
import { PATIENT } from '../fixtures/pipeline.ts'
import { openPossession } from '../fixtures/possession.ts'
import { type Asked, question } from '../fixtures/question.ts'
import { ISSUER } from '../fixtures/tokens.ts'
import { blobsOf, INVOICES, SOURCE, type Stated } from '../sidecar/trust/beliefs.ts'
import { fedSnapshot, type OpenFed, openFed } from '../sidecar/trust/fed-world.ts'
import { message } from '../sidecar/trust/revocation-world.ts'
import { AT_S, said, tokenOf, type Weapon } from './arena.ts'
import { requestOf } from './steps.ts'

// The real parts of a sidecar that an operator feeds. The operator is the test; so are the clocks.

export const KEY = signingKey('RS256')
export const STATED: Stated = { keys: [KEY], refreshable: true }
const NEVER = new AbortController().signal

export interface FedArena extends OpenFed {
  readonly steps: Steps
  /** `allow` or the reason of the denial, read back from the bytes that go to the caller. */
  verdict(weapon?: Weapon, asked?: Asked, change?: Partial<Steps>): Promise<string>
  install(snapshot: Snapshot): Promise<Installed>
  /** Appends to the operator's log and tells it. */
  revoke(...entries: readonly Partial<Revocation>[]): Installed
  /** A heartbeat for the head that we have, or for another, sent now or `agoMs` earlier. */
  heartbeat(head?: number, agoMs?: number): void
  now(): number
  /** Time on both clocks. */
  pass(ms: number): void
  setWall(ms: number): void
}

export interface FedPlan {
  readonly refresh?: (arena: () => FedArena) => RefreshKeys
  readonly first?: Snapshot
  /** The operator sends no heartbeat. */
  readonly silent?: boolean
}

async function openFloor() {
  const bundle = await readBundle(resolve(import.meta.dirname, '../../policies/bundle'))
  return prepareBundle(bundle, FLOOR_ENTRYPOINT, engineLimits(64 * 1024 * 1024))
}

/** Snapshot 5, an empty log at 10, and a heartbeat just now. */
export async function openFedArena({ refresh, first, silent }: FedPlan = {}): Promise<FedArena> {
  let mono = 1_000
  let wall = AT_S * 1000
  const fed = openFed({ monotonic: () => mono, wall: () => wall })
  const { believe, store } = fed
  const floor = await openFloor()
  const keys = createKeys({
    refresh: (...question) => (refresh ? refresh(() => arena)(...question) : Promise.resolve(false)),
    installed: store.installed,
    now: () => mono,
    sleep: () => new Promise(() => undefined),
    lifetime: NEVER,
    inFlight: 1024,
  })
  const steps: Steps = {
    wall: () => wall,
    current: store.current,
    present,
    verify: createVerify(forgetful(createProve(keys.find))),
    confirm: (local) => local,
    ...openPossession(),
    standing,
    admit,
    judge: createJudge(floor),
    broke: () => undefined,
  }
  let serial = 0
  const arena: FedArena = {
    ...fed,
    steps,
    install: (snapshot) => believe.install(snapshot, blobsOf(INVOICES)),
    revoke(...entries) {
      const whole = entries.map((one) => ({
        id: `r-${++serial}`,
        issuer: ISSUER,
        subject: undefined,
        issuedBeforeMs: 0,
        expiresAtMs: AT_S * 1000 + 3_600_000,
        source: SOURCE,
        ...one,
      }))
      const { head } = fed.revocations
      return believe.revoke(message(head, head + whole.length, whole))
    },
    heartbeat: (head = fed.revocations.head, agoMs = 0) =>
      believe.heartbeat({ revocationHead: head, atMs: 9_000_000 + mono - agoMs }),
    now: () => wall,
    pass(ms) {
      mono += ms
      wall += ms
    },
    setWall(ms) {
      wall += ms
    },
    async verdict(weapon = {}, asked = {}, change = {}) {
      const request = requestOf(question({ token: tokenOf(weapon), ...asked }))
      return said(await createDecide({ ...steps, ...change })(request, PATIENT))
    },
  }
  believe.greet()
  const installed = await arena.install(first ?? fedSnapshot(5, [STATED]))
  if (!installed.ok) throw new Error(installed.problems.join())
  believe.revoke(message(0, 10))
  if (!silent) arena.heartbeat()
  return arena
}
