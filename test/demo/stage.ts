import { cpSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Idp, startIdp } from '../fixtures/idp.ts'
import { forget, startNode, tempDirectory, until } from '../fixtures/process.ts'
import { ROOT, type Sidecar, startSidecar } from '../fixtures/sidecar.ts'
import { type AppLog, type Checked, createAppLog } from './app-log.ts'
import { type Ask, type Caller, createCaller, type Reply } from './http.ts'

// The three processes of the demo and what its scenes do with them.

export interface Stage extends AsyncDisposable {
  readonly idp: Idp
  readonly sidecar: Sidecar
  readonly app: App
  readonly policy: PolicyFolder
  // A request to the sample application; `checked` is the application's own log of it.
  ask(ask: Omit<Ask, 'id'>): Promise<Asked>
  // The same, one after the other without a pause.
  askOften(ask: Omit<Ask, 'id'>, times: number): Promise<readonly Asked[]>
  // Another sidecar at the same addresses, after the first one died.
  restartSidecar(): Promise<void>
}

export interface Asked extends Reply {
  readonly id: string
  readonly checked: Checked
  readonly served: boolean
  // The sidecar's log of the same decision; undefined when the sidecar did not decide.
  readonly logged: Logged | undefined
}

export interface Logged {
  readonly reason: string
  readonly revision: string
  readonly micros: number
}

export interface App {
  readonly port: number
  readonly log: AppLog
  readonly caller: Caller
}

export type PolicyName = 'first' | 'edited' | 'corrupted'

export interface PolicyFolder {
  readonly path: string
  folder(name: PolicyName): string
  revision(name: PolicyName): string
  use(name: PolicyName): void
}

export const EXTERNAL_URL = 'https://invoices.demo.example'

export async function openStage({ tokenTtlS }: { readonly tokenTtlS: number }): Promise<Stage> {
  await using opening = new AsyncDisposableStack()
  const directory = tempDirectory('demo')
  opening.defer(async () => forget(directory))
  const policy = openPolicies(directory)
  const idp = opening.use(await startIdp({ tokenTtlS }))
  const config = configFor(idp, policy, directory)
  let sidecar = opening.use(await startSidecar({ config }))
  const app = opening.use(await startApp(sidecar.unix))
  const opened = opening.move()
  let sent = 0
  const send = async (ask: Omit<Ask, 'id'>) => {
    const id = `demo-${++sent}`
    return { ...(await app.caller.ask({ ...ask, id })), id }
  }
  const explain = async (reply: Reply & { readonly id: string }): Promise<Asked> => {
    const { id } = reply
    const checked = await until(`log of ${id}`, () => app.log.checked(id))
    const { decision } = checked
    const logged = decision
      ? await until(`line of decision ${id}`, () => lineOf(sidecar, decision))
      : undefined
    return { ...reply, checked, served: app.log.served(id), logged }
  }
  return {
    idp,
    get sidecar() {
      return sidecar
    },
    app,
    policy,
    ask: async (ask) => explain(await send(ask)),
    askOften: async (ask, times) => {
      const replies = []
      for (let i = 0; i < times; i++) replies.push(await send(ask))
      return Promise.all(replies.map(explain))
    },
    restartSidecar: async () => {
      sidecar = opened.use(await startSidecar({ config }))
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

function lineOf(sidecar: Sidecar, decision: string): Logged | undefined {
  const line = sidecar.decisions.findLast((one) => one['decision_id'] === decision)
  if (!line) return undefined
  const text = (name: string) => String(line[name] ?? '')
  return { reason: text('reason'), revision: text('policy_revision'), micros: Number(line['elapsed_us']) }
}

function configFor(idp: Idp, policy: PolicyFolder, directory: string) {
  return {
    listen: {
      unix: join(directory, 'run', 'check.sock'),
      tcp: '127.0.0.1:0',
      credentials: join(directory, 'handout', 'credentials.sock'),
    },
    audience: idp.audience,
    // What callers see: the application itself listens on some port of the loopback.
    tokens: { externalBaseURL: EXTERNAL_URL },
    issuers: [
      {
        issuer: idp.issuer,
        jwks: { discovery: true },
        algorithms: ['RS256'],
        tenant: { claim: 'tenant', allowed: ['acme', 'globex'] },
        allowInsecureLoopback: true,
      },
    ],
    policy: { path: policy.path },
    log: { decisions: true },
  }
}

async function startApp(socket: string): Promise<App & AsyncDisposable> {
  const log = createAppLog()
  const errors: string[] = []
  const child = startNode({
    args: [join(ROOT, 'test/demo/app.ts'), `unix://${socket}`],
    cwd: ROOT,
    onLine: ({ from, text }) => (from === 'stdout' ? log.take(text) : errors.push(text)),
  })
  const stop = async () => {
    child.kill('SIGTERM')
    await child.exited
  }
  try {
    const port = await until('port of the application', log.port, { withinMs: 10_000 })
    const caller = createCaller(port)
    const end = async () => {
      caller[Symbol.dispose]()
      await stop()
    }
    return { port, log, caller, [Symbol.asyncDispose]: end }
  } catch (cause) {
    await stop()
    throw new Error(`the application did not come up\n${errors.join('\n')}`, { cause })
  }
}

// Three bundles side by side and a link to the one in use: a swap is one rename, as with a mounted ConfigMap.
function openPolicies(directory: string): PolicyFolder {
  const home = join(directory, 'policies')
  const folder = (name: PolicyName) => join(home, name)
  mkdirSync(home)
  cpSync(join(ROOT, 'policies/invoices/bundle'), folder('first'), { recursive: true })
  cpSync(join(ROOT, 'policies/invoices-edited/bundle'), folder('edited'), { recursive: true })
  cpSync(folder('edited'), folder('corrupted'), { recursive: true })
  corrupt(join(folder('corrupted'), 'policy.wasm'))
  const path = join(home, 'current')
  const use = (name: PolicyName) => {
    symlinkSync(folder(name), `${path}.next`)
    renameSync(`${path}.next`, path)
  }
  use('first')
  return { path, use, folder, revision: (name) => revisionOf(folder(name)) }
}

// One bit of the module, as by a broken disk.
function corrupt(file: string): void {
  const bytes = readFileSync(file)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  writeFileSync(file, bytes)
}

function revisionOf(folder: string): string {
  const manifest: unknown = JSON.parse(readFileSync(join(folder, '.manifest'), 'utf8'))
  if (typeof manifest === 'object' && manifest !== null && 'revision' in manifest)
    return String(manifest.revision)
  throw new Error(`${folder} names no revision`)
}
