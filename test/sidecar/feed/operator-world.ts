import { hash } from 'node:crypto'
import type { Revocation, Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { TrustBundle } from '../../../contracts/gen/portcullis/identity/v1/identity.ts'
import { createOperatorFeed, type OperatorFeed, type TrustAnswer } from '../../../sidecar/feed/operator.ts'
import type { Fact } from '../../../sidecar/ports.ts'
import type { PreparePolicy } from '../../../sidecar/trust/install.ts'
import { createFakeTime, type FakeTime } from '../fake-time.ts'
import { INVOICES, type Stated } from '../trust/beliefs.ts'
import { fedSnapshot, type OpenFed, openFed, SIGNER } from '../trust/fed-world.ts'
import { message } from '../trust/revocation-world.ts'
import { type Conversation, type OperatorStub, openOperator } from './operator-stub.ts'

// The sidecar's feed over a real stream to a scripted operator; only time and chance are the test's.

export const WALL = 1_790_000_000_000

export interface FeedWorld extends AsyncDisposable {
  readonly time: FakeTime
  readonly fed: OpenFed
  readonly feed: OperatorFeed
  readonly operator: OperatorStub
  readonly events: { readonly event: string; readonly facts: Readonly<Record<string, Fact>> | undefined }[]
  /** Trust bundles that the identity was given. */
  readonly bundles: TrustBundle[]
  /** Lets real time pass, and whatever is due at this moment of the fake clock happen, until it is so. */
  until(so: () => boolean): Promise<void>
  /** The next stream, after its Hello. */
  greeted(): Promise<Conversation>
  /** A stream with trust bundle, revocations, snapshot and heartbeat, all in effect. */
  ready(issuers?: readonly Stated[]): Promise<Conversation>
  stop(): void
}

export interface FeedPlan {
  readonly prepare?: PreparePolicy
  readonly trust?: (bundle: TrustBundle) => TrustAnswer | Promise<TrustAnswer>
  readonly receiveBytes?: number
  readonly random?: () => number
}

export async function openFeedWorld(plan: FeedPlan = {}): Promise<FeedWorld> {
  const time = createFakeTime()
  const operator = await openOperator(plan.receiveBytes)
  const fed = openFed({ monotonic: time.now, wall: () => WALL + time.now() }, plan.prepare)
  const events: FeedWorld['events'] = []
  const bundles: TrustBundle[] = []
  const life = new AbortController()
  const feed = createOperatorFeed({
    believe: fed.believe,
    signers: fed.signers,
    open: operator.open,
    async trust(bundle) {
      const answer = (await plan.trust?.(bundle)) ?? { ok: true }
      if (answer.ok) bundles.push(bundle)
      return answer
    },
    version: '1.2.3',
    now: time.now,
    sleep: time.sleep,
    random: plan.random ?? (() => 0),
    report: (event, facts) => void events.push({ event, facts }),
  })
  await feed.load(life.signal)
  const running = feed.run(life.signal).catch(() => undefined)
  const greeted = async () => {
    const pump = new AbortController()
    const accepted = operator.accept().finally(() => pump.abort())
    while (!pump.signal.aborted) await tick(time)
    const conversation = await accepted
    await conversation.hear('hello')
    return conversation
  }
  return {
    time,
    fed,
    feed,
    operator,
    events,
    bundles,
    greeted,
    async until(so) {
      for (let left = 2_000; !so(); left--) {
        if (left === 0) throw new Error('it did not come to pass')
        await tick(time)
      }
    },
    async ready(issuers = [{}]) {
      const conversation = await greeted()
      conversation.say({ $case: 'trustBundle', trustBundle: trustBundle(1) })
      conversation.say({ $case: 'revocations', revocations: message(0, 10) })
      conversation.say({ $case: 'snapshot', snapshot: fedSnapshot(5, issuers) })
      await serveBlobs(conversation, blobs(INVOICES).length)
      for (let i = 0; i < 3; i++) await conversation.hear('ack')
      heartbeat(conversation, 10, time)
      while (!feed.stream.connected()) await tick(time)
      return conversation
    },
    stop: () => life.abort(new Error('stopped')),
    async [Symbol.asyncDispose]() {
      life.abort(new Error('stopped'))
      await running
      await operator[Symbol.asyncDispose]()
    },
  }
}

async function tick(time: FakeTime): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 2))
  await time.advance(0)
}

export function trustBundle(sequence: number, change: Partial<TrustBundle> = {}): TrustBundle {
  return {
    sequence,
    trustDomain: 'cluster.example',
    x509Roots: [Buffer.from('root')],
    jwtKeys: Buffer.from('{"keys":[]}'),
    bundleKeys: [SIGNER.key],
    refreshHintS: 60,
    ...change,
  }
}

export function heartbeat(conversation: Conversation, revocationHead: number, time: FakeTime): void {
  conversation.say({ $case: 'heartbeat', heartbeat: { revocationHead, atMs: 7_000_000 + time.now() } }, '')
}

export function revoke(
  conversation: Conversation,
  base: number,
  head: number,
  entries: readonly Revocation[],
): string {
  return conversation.say({ $case: 'revocations', revocations: message(base, head, entries) })
}

export function offer(conversation: Conversation, snapshot: Snapshot): string {
  return conversation.say({ $case: 'snapshot', snapshot })
}

export interface NamedBlob {
  readonly sha256: Buffer
  readonly content: Buffer
}

export function blobs(files: ReadonlyMap<string, Uint8Array>): readonly NamedBlob[] {
  return [...files.values()].map((content) => ({
    sha256: hash('sha256', content, 'buffer'),
    content: Buffer.from(content),
  }))
}

/** Answers so many wants with what they ask for. */
export async function serveBlobs(
  conversation: Conversation,
  count: number,
  known: readonly NamedBlob[] = blobs(INVOICES),
): Promise<readonly string[]> {
  const wanted: string[] = []
  for (let i = 0; i < count; i++) {
    const { want } = await conversation.hear('want')
    wanted.push(want.sha256.toString('hex'))
    const blob = known.find(({ sha256 }) => sha256.equals(want.sha256))
    if (blob) sendBlob(conversation, blob)
  }
  return wanted
}

const PART = 64 * 1024

export function sendBlob(
  conversation: Conversation,
  { sha256, content }: NamedBlob,
  until = content.length,
): void {
  for (let offset = 0; offset < until; offset += PART) {
    const part = content.subarray(offset, Math.min(offset + PART, until))
    conversation.say({ $case: 'chunk', chunk: { sha256, offset, size: content.length, content: part } }, '')
  }
}
