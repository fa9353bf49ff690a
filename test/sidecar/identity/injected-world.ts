import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Snapshot } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { type Child, type Exit, forget, startNode, tempDirectory, until } from '../../fixtures/process.ts'
import { ROOT } from '../../fixtures/sidecar.ts'
import { INVOICES } from '../trust/beliefs.ts'
import { fedSnapshot, SIGNER } from '../trust/fed-world.ts'
import { serverCredential } from './authority.ts'
import { AUDIENCE, openWorld, POD, TRUST_DOMAIN, type World } from './identity-world.ts'
import { type OperatorFeedServer, openOperatorFeed } from './operator-feed.ts'

// The real program as the injection starts it, with an issuer and a feed that it can reach, all under one directory.

export interface InjectedSidecar extends AsyncDisposable {
  readonly world: World
  readonly feed: OperatorFeedServer
  readonly checkSocket: string
  readonly workloadSocket: string
  /** Only with `--credentials On`. */
  readonly credentialsSocket: string
  /** Where it keeps roots. */
  readonly anchorsFile: string
  readonly pid: number
  /** Of the process that was started last. */
  readonly exited: Promise<Exit>
  /** Everything it has written. */
  text(): string
  events(name: string): readonly Record<string, unknown>[]
  admin(path: string): Promise<{ readonly status: number; readonly text: string }>
  /** Waits until it is ready, or for the text of why it is not. */
  ready(): Promise<void>
  stop(): Promise<Exit>
  /** As the kubelet does with a container that died: the same command and environment, over the volumes as they are. */
  restart(): Promise<void>
}

export interface InjectedPlan {
  readonly svidTtlMs?: number
  /** Before the program starts. */
  readonly prepare?: (world: World) => Promise<void>
  /** Instead of all arguments, and beside them. */
  readonly args?: readonly string[]
  readonly more?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What the operator tells, changed. */
  readonly tell?: (snapshot: Snapshot) => Snapshot
  /** The sources unless told otherwise. */
  readonly mainFile?: string
  readonly nodeOptions?: readonly string[]
}

export async function startInjected(plan: InjectedPlan = {}): Promise<InjectedSidecar> {
  const world = await openWorld()
  Object.assign(world.script, {
    wall: Date.now,
    svidTtlMs: plan.svidTtlMs ?? 3_600_000,
    bundle: { ...world.script.bundle, bundleKeys: [SIGNER.key] },
  })
  const usual = fedSnapshot(1, [{ keys: [signingKey()] }])
  const snapshot = plan.tell?.(usual) ?? usual
  const told = { bundle: world.script.bundle, snapshot, files: INVOICES }
  const operator = `spiffe://${TRUST_DOMAIN}/portcullis/operator/control/c-1`
  const feed = await openOperatorFeed(told, await serverCredential(world.authority, operator))
  const directory = tempDirectory('injected')
  for (const mount of [
    'run/portcullis',
    'run/portcullis-credentials',
    'run/spiffe',
    'var/run/secrets/portcullis',
  ]) {
    mkdirSync(join(directory, mount), { recursive: true })
    // As the kubelet makes an emptyDir.
    chmodSync(join(directory, mount), 0o777)
  }
  const token = world.writeToken({ aud: [AUDIENCE] })
  writeFileSync(join(directory, 'var/run/secrets/portcullis/token'), token)
  await plan.prepare?.(world)
  const lines: string[] = []
  const main = plan.mainFile ?? join(ROOT, 'sidecar/main.ts')
  const start = () =>
    startNode({
      args: [
        ...(plan.nodeOptions ?? []),
        main,
        ...(plan.args ?? argumentsFor(world, feed)),
        ...(plan.more ?? []),
      ],
      cwd: ROOT,
      env: { ...environment(world, directory), ...plan.env },
      onLine: ({ text }) => void lines.push(text),
    })
  return injectedOver({ start, world, feed, directory, lines })
}

function argumentsFor(world: World, feed: OperatorFeedServer): readonly string[] {
  return [
    '--injected',
    ...['--feed', `127.0.0.1:${feed.port}`],
    ...['--issuer', `127.0.0.1:${world.issuer.port}`],
    ...['--trust-domain', TRUST_DOMAIN],
    ...['--audience', AUDIENCE],
    ...['--decision-log', 'On'],
    ...['--check-port', '0'],
    ...['--admin-port', '0'],
  ]
}

function environment({ authority }: World, directory: string): Readonly<Record<string, string>> {
  return {
    POD_UID: POD.uid,
    POD_NAME: POD.name,
    POD_NAMESPACE: POD.namespace,
    POD_SERVICE_ACCOUNT: POD.serviceAccount,
    POD_IP: '127.0.0.1',
    PORTCULLIS_TRUST_ANCHORS: authority.rootPem,
    PORTCULLIS_TEST_ROOT: directory,
  }
}

interface Started {
  readonly start: () => Child
  readonly world: World
  readonly feed: OperatorFeedServer
  readonly directory: string
  readonly lines: string[]
}

function injectedOver({ start, world, feed, directory, lines }: Started): InjectedSidecar {
  let child = start()
  const events = (name: string) =>
    lines.flatMap((line) => {
      const entry = line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : {}
      return entry['event'] === name ? [entry] : []
    })
  const admin = async (path: string) => {
    const response = await fetch(`http://${events('listening')[0]?.['admin']}${path}`)
    return { status: response.status, text: await response.text() }
  }
  return {
    world,
    feed,
    checkSocket: join(directory, 'run/portcullis/check.sock'),
    credentialsSocket: join(directory, 'run/portcullis-credentials/credentials.sock'),
    workloadSocket: join(directory, 'run/spiffe/workload.sock'),
    anchorsFile: join(directory, 'run/portcullis/anchors.pem'),
    get pid() {
      return child.pid
    },
    get exited() {
      return child.exited
    },
    text: () => lines.join('\n'),
    events,
    admin,
    async ready() {
      await until('listening', () => events('listening')[0], { withinMs: 20_000 })
      let last = ''
      const asked = async () => {
        const { status, text } = await admin('/readyz')
        last = text
        return status === 200 || undefined
      }
      await until('readiness', asked, { withinMs: 20_000, everyMs: 50 }).catch((cause: unknown) => {
        throw new Error(`${cause}: ${last}\n${lines.join('\n')}`, { cause })
      })
    },
    async stop() {
      child.kill('SIGTERM')
      return child.exited
    },
    async restart() {
      child.kill('SIGKILL')
      await child.exited
      lines.length = 0
      child = start()
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await child.exited
      await feed[Symbol.asyncDispose]()
      await world[Symbol.asyncDispose]()
      forget(directory)
    },
  }
}
