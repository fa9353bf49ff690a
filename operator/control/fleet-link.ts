import type { SidecarState } from '../../contracts/gen/portcullis/fleet/v1/fleet.ts'
import type { SpiffeId, X509Trust } from '../../contracts/spiffe.ts'
import type { Config } from '../config.ts'
import type { Presences } from '../kube/presence.ts'
import type { KubePorts } from '../kube/transport.ts'
import { callUnary, createMeshChannel, type MeshChannel } from '../mesh/channel.ts'
import type { MeshIdentity } from '../mesh/identity.ts'
import type { Live } from '../mesh/live.ts'
import { Fault } from '../ports.ts'
import { createFleet, type Fleet, type Method } from '../publish/fleet.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { RefreshKeys } from '../publish/refresh.ts'
import type { AppendRevocations } from '../publish/revokes.ts'

/** Annotations of a replica's presence: where it is reached, and whether it leads. */
export const POD_IP = 'portcullis.dev/pod-ip'
export const LEADING = 'portcullis.dev/leading'

export interface FleetLinkNeeds {
  readonly config: Pick<Config, 'trustDomain' | 'pod' | 'ports'>
  readonly ports: KubePorts
  readonly identity: Live<MeshIdentity>
  readonly trust: Live<X509Trust>
  readonly presences: Pick<Presences, 'live'>
  readonly leads: () => boolean
  readonly publisher: () => Publisher
  readonly fetchKeys: RefreshKeys
  readonly append: AppendRevocations
}

/** This replica among the others. */
export interface FleetLink extends Disposable {
  readonly fleet: Fleet
  /** Grows when what is known of the sidecars has news. */
  revision(): number
}

const CALL_MS = 5_000
const MESSAGE_BYTES = 8 * 1024 * 1024

export function createFleetLink(needs: FleetLinkNeeds): FleetLink {
  const { config, ports } = needs
  let known: { readonly address: string; readonly channel: MeshChannel } | undefined

  const channelTo = (address: string): MeshChannel => {
    if (known?.address === address) return known.channel
    known?.channel[Symbol.dispose]()
    known = { address, channel: openChannel(needs, address) }
    return known.channel
  }
  const callLeader = async <Q, A>(method: Method<Q, A>, request: Q, signal: AbortSignal): Promise<A> => {
    const leader = needs.presences.live().find(({ annotations }) => annotations[LEADING] === 'true')
    const ip = leader?.annotations[POD_IP]
    if (!ip) throw new Fault('fetch', 'no replica leads now')
    const host = ip.includes(':') ? `[${ip}]` : ip
    const client = channelTo(`${host}:${config.ports.feed}`).client()
    const answer = await callUnary(client, method, request, { deadlineMs: ports.now() + CALL_MS, signal })
    if (!answer.ok) throw new Fault('fetch', `the leader ${leader.pod} answered: ${answer.why}`)
    return answer.value
  }
  let shards = ''
  let revision = 0
  const fleet = createFleet(config.trustDomain, config.pod.name, {
    ...ports,
    leads: needs.leads,
    callLeader,
    fetchKeys: needs.fetchKeys,
    append: needs.append,
    own: () => needs.publisher().states(),
    revision: () => needs.publisher().revision(),
    position: () => {
      const { revocationHead, generation } = needs.publisher().status()
      return { revocationHead, generation }
    },
  })
  return {
    fleet,
    revision() {
      const now = markOf(fleet.states())
      if (now !== shards) revision += 1
      shards = now
      return revision
    },
    [Symbol.dispose]: () => known?.channel[Symbol.dispose](),
  }
}

function openChannel({ config, ports, identity, trust }: FleetLinkNeeds, target: string): MeshChannel {
  const prefix = '/portcullis/operator/control/'
  const expected = (server: SpiffeId) =>
    server.trustDomain === config.trustDomain && server.path.startsWith(prefix)
  return createMeshChannel({
    target,
    identity,
    trust,
    expected,
    now: ports.now,
    requestBytes: MESSAGE_BYTES,
    responseBytes: MESSAGE_BYTES,
  })
}

// Without the time of the last word, which is no news.
function markOf(states: ReadonlyMap<string, SidecarState>): string {
  let mark = ''
  for (const { podUid, generation, revocationHead, trustSequence, problems, projection } of states.values()) {
    mark += `${podUid} ${generation} ${revocationHead} ${trustSequence} ${problems.length} ${projection}\n`
  }
  return mark
}
