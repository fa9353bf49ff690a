import { openAdmin } from '../../contracts/admin.ts'
import type { Config } from '../config.ts'
import { injectionOf, markOf } from '../inject/sidecar.ts'
import { LEASE_TIMES, openLeadership } from '../kube/leadership.ts'
import { openPresence } from '../kube/presence.ts'
import { openLogout } from '../logout/receiver.ts'
import { type Air, createGathering, measure, openAir } from './air.ts'
import {
  adminView,
  type ControlPorts,
  follow,
  type Ground,
  hookNeeds,
  openGround,
  presenceOf,
  untilTrusted,
} from './ground.ts'
import { createHookRoom, profileNamed } from './hooks.ts'
import { type Issuing, openIssuing } from './issuing.ts'
import { type LeaderNeeds, lead } from './leader.ts'
import { createLogoutAnswers } from './logouts.ts'
import { createVerifying } from './verifying.ts'

const DRAIN_MS = 10_000

/**
 * One replica of `control`: mirrors the cluster, serves the feed and the webhook from memory, and, while it leads, gathers, numbers and
 * writes. Resolves when the signal has aborted and everything is closed.
 */
export async function runControl(config: Config, ports: ControlPorts, signal: AbortSignal): Promise<void> {
  await using stack = new AsyncDisposableStack()
  const ground = await openGround(config, ports, stack)
  const { ledger, watch, causes, desk } = ground
  const hooks = stack.use(createHookRoom(hookNeeds(config, ports, ground)))
  causes.set('webhook', () => hooks.notReadyBecause())
  const { port, host } = { host: '0.0.0.0', port: config.ports.admin }
  stack.use(await openAdmin({ host, port }, adminView(ground, ports)))

  await Promise.all([ledger.whenSynced(signal), watch.whenSynced(signal)])
  causes.set('mirrors', () => undefined)
  follow(ledger, (bundle) => ground.trust.set({ trustDomain: config.trustDomain, roots: bundle.x509Roots }))
  await untilTrusted(ground.trust, ports, signal)
  causes.set('trust', () => undefined)
  const issuing = stack.use(await openIssuing({ ...ports, ...config, trust: ground.trust }, signal))
  causes.set('identity', () => undefined)
  desk.identity = issuing.identity

  const air = await openAir(config, ports, { ground, issuing, stack, signal })
  const gathering = createGathering(air.refresh, ports, signal)
  const stops = [ground.views.subscribe(gathering.ring)]
  const presence = stack.use(await openPresence(ground.transport, presenceOf(config, ground), ports))
  stops.push(
    ledger.subscribe((kind) => {
      if (kind === 'trust-bundle') presence.renew()
    }),
  )
  const work = leaderNeeds(config, ports, { ground, issuing, air })
  const identity = `${config.pod.name}_${config.pod.uid}_${ports.now()}`
  const contender = { ...LEASE_TIMES, namespace: config.namespace, name: LEASE, identity }
  desk.leadership = stack.use(
    await openLeadership(
      ground.transport,
      contender,
      (term) => {
        presence.renew()
        return lead(term, work)
      },
      ports,
    ),
  )
  const logout = await openLogouts(config, ports, { ground, air, stack })
  ports.report('serving', {
    feed: air.mesh.port,
    webhook: config.ports.webhook,
    admin: config.ports.admin,
    ...(logout === undefined ? {} : { logout }),
  })
  await Promise.all([
    hooks.run(signal),
    air.publisher.run(signal),
    air.link.fleet.run(signal),
    gathering.run(),
    ground.keepUp(signal),
    measure({ publisher: air.publisher, views: ground.views, ports, signal }),
  ])
  for (const stop of stops) stop()
  await air.mesh.drain(DRAIN_MS, AbortSignal.timeout(DRAIN_MS))
}

interface LogoutParts {
  readonly ground: Ground
  readonly air: Air
  readonly stack: AsyncDisposableStack
}

async function openLogouts(
  { logoutPort, logoutBehindIngress }: Config,
  ports: ControlPorts,
  { ground, air, stack }: LogoutParts,
): Promise<number | undefined> {
  if (logoutPort === undefined) return undefined
  const { append, refreshKeys } = air.link.fleet
  const running = stack.use(
    await openLogout(
      { host: '0.0.0.0', port: logoutPort },
      {
        ...ports,
        ...createLogoutAnswers(ground.views, refreshKeys, ports),
        append,
        behindIngress: logoutBehindIngress,
        observe: (status, why) =>
          ports.record.add('portcullis_logout_total', { status: String(status), why }),
      },
    ),
  )
  return running.port
}

const LEASE = 'portcullis-control'
interface LeaderParts {
  readonly ground: Ground
  readonly issuing: Issuing
  readonly air: Air
}

function leaderNeeds(
  config: Config,
  ports: ControlPorts,
  { ground, issuing, air }: LeaderParts,
): LeaderNeeds {
  const { watch, views, facts, desk } = ground
  const { states } = air.link.fleet
  const injection = () => {
    const profile = profileNamed(watch, config.profile)
    if (!profile || facts().trustAnchors.length === 0) return undefined
    return { profile: profile.name, mark: markOf(profile, facts()), injection: injectionOf(profile, facts()) }
  }
  return {
    ...ground,
    ports,
    compile: ports.compile,
    fetch: ports.fetch,
    sign: issuing.sign,
    states,
    revision: air.link.revision,
    status: {
      injection,
      trustDomain: config.trustDomain,
      exempt: new Set([config.namespace, 'kube-system', 'kube-public', 'kube-node-lease']),
    },
    verifying: () =>
      createVerifying({
        watch,
        views,
        states,
        presences: air.presences.live,
        now: ports.now,
        monotonic: ports.monotonic,
      }),
    fetching: (keys) => {
      desk.keys = keys
    },
    appending: (appending) => {
      desk.appending = appending
    },
  }
}
