import { type ServerDuplexStream, status } from '@grpc/grpc-js'
import type { Held, Recalled } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Acks } from './acks.ts'
import type { Broadcast } from './broadcast.ts'
import type { CanaryWatch } from './canary-watch.ts'
import { type PeerOf, podUidOf } from './peer.ts'
import { placeOf, recallable, sourcesOf } from './recall.ts'
import type { AskKeys } from './refresh.ts'
import { createSession, type Session } from './session.ts'
import type { PublisherConfig, PublisherPorts, Unkept } from './settings.ts'

const OPEN_PER_POD = 4

export type Call = ServerDuplexStream<Buffer, Buffer>

/** Where all streams of this replica stand. */
export interface Floor {
  readonly config: PublisherConfig
  readonly ports: PublisherPorts
  readonly acks: Acks
  readonly broadcast: Broadcast
  readonly canary: CanaryWatch
  /** By UID of the pod. */
  readonly sessions: Map<string, Attached>
  /** UIDs of those that are being asked what we forgot. */
  readonly recalling: Set<string>
  /** When they were asked last. */
  readonly askedAt: Map<string, number>
  /** Calls that have not ended yet, by UID: one that does not read cannot be ended. */
  readonly open: Map<string, number>
  readonly ask: AskKeys
  /** Aborted: nobody is let in any more. */
  readonly closing: AbortSignal
}

export interface Attached {
  readonly uid: string
  readonly session: Session
  beatAt: number
}

/** Lets a call in or ends it with the reason. Nothing but the certificate says for which pod it speaks. */
export function admit(floor: Floor, call: Call, peerOf: PeerOf): void {
  const peer = peerOf(call)
  const uid = peer && podUidOf(peer.id, floor.config.trustDomain)
  const refusal = refusalOf(floor, uid)
  if (uid === undefined || refusal) {
    const [code, details] = refusal ?? NO_CONTROL_SVID
    call.emit('error', { code, details })
    return
  }
  floor.sessions.get(uid)?.session.end(status.ABORTED, 'this pod has opened a newer stream')
  attach(floor, call, uid)
}

type Refusal = readonly [status, string]
const NO_CONTROL_SVID: Refusal = [status.UNAUTHENTICATED, 'not the control SVID of a pod']

function refusalOf(
  { broadcast, open, sessions, config, closing }: Floor,
  uid: string | undefined,
): Refusal | undefined {
  const world = broadcast.world()
  if (uid === undefined) return NO_CONTROL_SVID
  if (closing.aborted) return [status.UNAVAILABLE, 'this replica is going; connect again']
  if (!world) return [status.UNAVAILABLE, 'this replica does not know the cluster yet']
  if (!world.pods.has(uid)) return [status.PERMISSION_DENIED, 'no living pod with a sidecar has this UID']
  const crowded = !sessions.has(uid) && sessions.size >= config.streams
  if (crowded || (open.get(uid) ?? 0) >= OPEN_PER_POD)
    return [status.RESOURCE_EXHAUSTED, 'too many streams here; come back later']
  return undefined
}

function attach(floor: Floor, call: Call, uid: string): void {
  const { config, ports, broadcast, sessions, open, recalling, acks } = floor
  open.set(uid, (open.get(uid) ?? 0) + 1)
  const pod = () => broadcast.world()?.pods.get(uid)
  let over = false
  const session = createSession(call, {
    ...broadcast.sources(() => pod()?.projection),
    now: ports.monotonic,
    ask: floor.ask,
    wall: ports.now,
    append: (entries) =>
      ports.append(
        { entries: [...entries], podUid: uid, once: Buffer.alloc(0), onceUntilMs: 0 },
        floor.closing,
      ),
    blob: (sha256) => broadcast.world()?.blob(sha256),
    place: (held) => place(floor, uid, held),
    recalled: (held, told) => remember(floor, uid, held, told),
    holding: () => recalling.size > 0,
    heard: (what) => {
      const from = pod()
      if (from) acks.heard(from, { ...what, at: ports.now() })
      if (what.held) floor.canary.acked(uid, what.held.revocationHead)
    },
    begun: () => {
      attached.beatAt = 0
      if (!recalling.delete(uid)) return
      // Numbers from before are no longer to be served to anybody.
      broadcast.settle()
      broadcast.ring()
    },
    ended: (code, details) => {
      if (sessions.get(uid) === attached) {
        sessions.delete(uid)
        floor.canary.gone(uid)
      }
      if (recalling.delete(uid)) broadcast.ring()
      if (over || code === status.OK) call.end()
      else call.emit('error', { code, details })
    },
    ageMs: config.streamAgeMs * (0.9 + 0.2 * ports.random()),
  })
  const attached: Attached = { uid, session, beatAt: 0 }
  sessions.set(uid, attached)
  const gone = (): void => {
    if (over) return
    over = true
    const left = (open.get(uid) ?? 1) - 1
    if (left > 0) open.set(uid, left)
    else open.delete(uid)
    session.end(status.CANCELLED, 'the sidecar has gone')
  }
  call.on('data', session.receive)
  call.on('end', () => session.end(status.OK, ''))
  for (const event of ['cancelled', 'close', 'finish']) call.on(event, gone)
}

/** One sidecar that claims to know more, however often, costs the fleet no more than one question in this time. */
const ASK_AGAIN_MS = 60_000

function place(floor: Floor, uid: string, held: Held): 'known' | 'forgotten' | 'absurd' {
  const { broadcast, config, ports, askedAt, recalling } = floor
  const world = broadcast.world()
  if (!world) return 'absurd'
  const found = placeOf(world, held, config.aheadCap)
  if (found === 'known') return found
  const at = ports.monotonic()
  const again = at - (askedAt.get(uid) ?? Number.NEGATIVE_INFINITY) < ASK_AGAIN_MS
  const refused = found === 'absurd' || again
  const { generation, revocationHead } = held
  ports.report(refused ? 'sidecar_claim_refused' : 'sidecar_knows_more', {
    pod: uid,
    generation,
    revocationHead,
  })
  if (refused) return 'absurd'
  askedAt.set(uid, at)
  recalling.add(uid)
  return found
}

async function remember(
  { broadcast, ports, askedAt }: Floor,
  uid: string,
  { generation, revocationHead }: Held,
  told: Recalled,
): Promise<string | undefined> {
  const world = broadcast.world()
  const pod = world?.pods.get(uid)
  if (!world || !pod) return 'the pod is no more'
  const entries = recallable(world, pod.projection, told, ports.now())
  const refused = (told.revocations?.entries.length ?? 0) - entries.length
  if (refused > 0) ports.report('recalled_entries_refused', { pod: uid, refused })
  const begins = (told.revocations?.base ?? 0) === 0
  const unkept = await ports
    .recalled({
      pod,
      generation,
      revocationHead,
      entries,
      sources: sourcesOf(world, uid),
      begins,
      own: false,
    })
    .catch((cause): Unkept => ({ why: cause instanceof Error ? cause.message : 'unknown', full: false }))
  // It answered, and is asked again as soon as the answer can be kept.
  if (unkept && !unkept.full) askedAt.delete(uid)
  return unkept?.why
}
