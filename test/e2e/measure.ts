import { setTimeout as delay } from 'node:timers/promises'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { openInstalled, revocation } from './installed.ts'
import { memoryOf, workingSets } from './measure-memory.ts'
import { type AppPod, podsOf, traffic, untilAll } from './pods.ts'
import { accessPolicy, deployment } from './shop.ts'
import { AUDIENCE, eventually, NAMESPACE, SYSTEM, type World } from './world.ts'

// node test/e2e/measure.ts: how long changes take on a real cluster, what a sidecar costs. JSON lines; nothing is asserted. Times of a change
// begin before kubectl starts and end with the first answer that follows it, told by the application in the pod itself (one machine, one clock).
// REVOCATIONS, CHANGES, STARTS: how often (50, 20, 10).

const often = (name: string, usual: number) => Number(process.env[name] ?? usual)
const EVERY_MS = 10

const say = (what: string, facts: object) =>
  void process.stdout.write(`${JSON.stringify({ what, ...facts })}\n`)

const reason = clusterUnavailable()
if (reason) {
  process.stderr.write(`NOT RUN measure.ts: ${reason}\n`)
  process.exit(1)
}
await using world = await openInstalled('e2e-measure')
await world.apply(deployment(world.images.sample.pinned))
await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
const pods = await podsOf(world, 'shop')
await untilAll(pods, { token: await world.idp.mint() }, 'allow')
await delay(10_000)
say('memory, idle', await memory(world))
say('revocations', await revocations(world, pods, often('REVOCATIONS', 50)))
say('access policies', await policies(world, pods, often('CHANGES', 20)))
say('pod starts', await starts(world, often('STARTS', 10)))
say('memory, after the work', await memory(world))

async function revocations(world: World, pods: readonly AppPod[], count: number): Promise<object> {
  const [each, all, kubectl]: [number[], number[], number[]] = [[], [], []]
  for (let one = 0; one < count; one++) {
    const jti = `measured-${one}`
    const token = await world.idp.mint({ jti })
    const apply = () => world.apply(revocation(jti, 'Jti', jti))
    const seen = await changing(pods, token, 'revoked_jti', apply)
    each.push(...seen.each)
    all.push(Math.max(...seen.each))
    kubectl.push(seen.kubectl)
  }
  return { count, pods: pods.length, firstDenial: spread(each), onAll: spread(all), kubectl: spread(kubectl) }
}

async function policies(world: World, pods: readonly AppPod[], count: number): Promise<object> {
  const [all, kubectl]: [number[], number[]] = [[], []]
  for (let one = 0; one < count; one++) {
    const other = one % 2 === 0
    const token = await world.idp.mint({ jti: `policy-${one}` })
    const apply = () => world.apply(accessPolicy(other ? 'https://another.example' : AUDIENCE))
    const seen = await changing(pods, token, other ? 'aud_mismatch' : 'allow', apply)
    all.push(Math.max(...seen.each))
    kubectl.push(seen.kubectl)
  }
  return { count, pods: pods.length, onAll: spread(all), kubectl: spread(kubectl) }
}

/** Seconds from the beginning of `act` to the first such outcome on each pod, and those that `act` itself took. */
async function changing(
  pods: readonly AppPod[],
  token: string,
  wanted: string,
  act: () => Promise<void>,
): Promise<{ readonly each: readonly number[]; readonly kubectl: number }> {
  const stream = traffic(pods, `measured-${token.slice(-12)}`)
  await stream.start({ token }, EVERY_MS)
  await delay(300)
  const began = Date.now()
  await act()
  const kubectl = (Date.now() - began) / 1000
  let each: readonly number[] = []
  await eventually(
    wanted,
    async () => {
      const changes = (await stream.read()).map((one) => one.changes)
      each = changes.flatMap((one) => {
        const first = one.find(({ at, outcome }) => outcome === wanted && at >= began)
        return first ? [(first.at - began) / 1000] : []
      })
      return each.length === pods.length ? undefined : JSON.stringify(changes)
    },
    60_000,
  )
  await stream.stop()
  return { each, kubectl }
}

/** One after the other, alternating, so that a busy moment meets both kinds. */
async function starts(world: World, count: number): Promise<object> {
  const seconds: Record<'plain' | 'injected', number[]> = { plain: [], injected: [] }
  for (let one = 0; one < count; one++) {
    for (const kind of ['plain', 'injected'] as const) {
      const pod = `start-${kind}-${one}`
      const manifest = startable(pod, world.images.sample.pinned, kind === 'injected')
      const began = performance.now()
      await world.kubectl(['create', '-f', '-'], manifest)
      await world.kubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '-n', NAMESPACE, '--timeout=120s'])
      seconds[kind].push((performance.now() - began) / 1000)
      await world.kubectl(['delete', 'pod', pod, '-n', NAMESPACE, '--wait=true', '--timeout=60s'])
    }
  }
  return { count, plain: spread(seconds.plain), injected: spread(seconds.injected) }
}

function startable(name: string, image: string, injected: boolean): string {
  const labels = { app: 'probe', ...(injected && { 'portcullis.dev/inject': 'enabled' }) }
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: NAMESPACE, labels },
    spec: {
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'app',
          image,
          imagePullPolicy: 'IfNotPresent',
          securityContext: {
            runAsNonRoot: true,
            runAsUser: 65532,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ['ALL'] },
            seccompProfile: { type: 'RuntimeDefault' },
          },
        },
      ],
    },
  })
}

async function memory(world: World): Promise<object> {
  return {
    sidecar: await memoryOf(world, 'dist/sidecar/main.js'),
    control: await memoryOf(world, 'dist/operator/main.js control'),
    issuer: await memoryOf(world, 'dist/operator/main.js issuer'),
    workingSetMiB: await workingSets(world, SYSTEM),
  }
}

/** Of seconds: nearest rank. */
function spread(values: readonly number[]): object {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) =>
    Number((sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN).toFixed(3))
  return {
    n: sorted.length,
    min: at(1 / sorted.length),
    p50: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    max: at(1),
  }
}
