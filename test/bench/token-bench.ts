import { sign, verify } from 'node:crypto'
import { cpus, loadavg, release } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { signingKey } from '../fixtures/keys.ts'
import { BASE_URL } from '../fixtures/proofs.ts'
import type { Built } from './build.ts'
import { echoing, type Protocol, STREAM } from './contest.ts'
import { openStream } from './grpc-lane.ts'
import { type Host, startHost } from './host.ts'
import { load, type Run } from './load.ts'
import { echo, sidecar } from './servers.ts'
import type { TokenResults, TokenRow } from './token-report.ts'
import {
  createTokenRows,
  type Framed,
  ROW_NAMES,
  type RowName,
  type RowSize,
  type TokenRows,
} from './token-rows.ts'

// What possession of a key costs, and what knowing a token again saves.

export interface TokenPlan {
  readonly built: Built
  readonly flags: readonly string[]
  readonly serverCore: number
  readonly size: RowSize
  readonly say: (line: string) => void
}

/** So cheap that a run of it has to be longer, or one hiccup of the machine is most of it. Times; a proof is good once. */
const TIMES: Readonly<Partial<Record<RowName, number>>> = {
  'bearer, known token': 5,
  'mTLS-bound, known token': 5,
  'empty RPC': 10,
}
/** Half of what the other lanes have: no question may be shed here, on a busy machine neither. Fewer while code is cold. */
const AT_ONCE = 32
const COLD_AT_ONCE = 8
const RUN_AT_MOST_MS = 20_000
/** The only replica demands a nonce with proofs from before it began and ten seconds on (sidecar/token/spend.ts). */
const NONCE_FREE_AFTER_MS = 11_500

interface Ground {
  readonly code: Host
  readonly floor: Host
  readonly echoes: Protocol
  readonly rows: TokenRows
}

export async function measureTokens(plan: TokenPlan): Promise<TokenResults> {
  const { built, flags, serverCore, size, say } = plan
  const startedAt = performance.now()
  const before = loadNow()
  const [first] = createTokenRows({ rounds: 1, asked: 1 }, nowS()).batch('bearer, new token', 0, nowS())
  let answerBytes = 0
  const answers = (protocol: Protocol) => async (socket: string) => {
    const asked = await ask(socket, [first ?? NOTHING], protocol)
    answerBytes = asked.bytes
    return asked.refused.length === 0
  }

  await using stack = new AsyncDisposableStack()
  const tokens = { externalBaseURL: BASE_URL }
  const code = stack.use(await startHost(serverCore, sidecar(built, flags, { tokens }), answers(STREAM)))
  const echoes = echoing(STREAM, answerBytes)
  const floor = stack.use(await startHost(serverCore, echo(built, answerBytes), answers(echoes)))
  const nonceFreeAt = performance.now() + NONCE_FREE_AFTER_MS
  const rounds = size.rounds + 1
  say(`tokens: signing ${4 * rounds * size.asked}`)
  const rows = createTokenRows({ rounds, asked: size.asked }, nowS())
  await sleep(Math.max(0, nonceFreeAt - performance.now()))
  const measured = await inRounds({ code, floor, echoes, rows }, rounds, say)
  return {
    ...measured,
    ...size,
    day: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0]?.model.trim()}, ${cpus().length} cores, Linux ${release()}, Node ${process.versions.node}`,
    flags,
    loads: [before, loadNow()],
    seconds: (performance.now() - startedAt) / 1000,
  }
}

// Round 0 warms up: keys, known tokens and compiled code.
async function inRounds(
  ground: Ground,
  rounds: number,
  say: TokenPlan['say'],
): Promise<Pick<TokenResults, 'rows' | 'signatures'>> {
  const signatures = { RS256: [] as number[], ES256: [] as number[] }
  const runs = new Map<RowName, readonly Asked[]>(ROW_NAMES.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    say(`tokens: round ${round} of ${rounds - 1}`)
    if (round > 0) for (const alg of ['RS256', 'ES256'] as const) signatures[alg].push(bareSignature(alg))
    const atOnce = round > 0 ? AT_ONCE : COLD_AT_ONCE
    const at = nowS()
    const batches = ROW_NAMES.map((name) => [name, ground.rows.batch(name, round, at)] as const)
    for (const [name, pool] of batches) {
      const [host, protocol] = name === 'empty RPC' ? [ground.floor, ground.echoes] : [ground.code, STREAM]
      const asked = await ask(host.socket, pool, protocol, { pid: host.pid, atOnce, times: TIMES[name] ?? 1 })
      runs.set(name, [...(runs.get(name) ?? []), asked])
    }
  }
  return { rows: [...runs].map(([name, all]) => rowOf(name, all)), signatures }
}

function rowOf(name: RowName, all: readonly Asked[]): TokenRow {
  const measured = all.slice(1).map(({ run }) => run)
  return {
    name,
    cpu: measured.map(({ serverCpu }) => serverCpu),
    perSecond: measured.map(({ perSecond }) => perSecond),
    starved: measured.map(({ serverWaited }) => serverWaited),
    refused: all.flatMap(({ refused }) => refused),
  }
}

interface Asked {
  readonly run: Run
  /** What was said instead of `allow`. */
  readonly refused: readonly string[]
  /** Of the last answer. */
  readonly bytes: number
}

const NOTHING: Framed = { streamed: Buffer.alloc(0) }

// The questions once, or so many times, over a connection of their own.
async function ask(
  socket: string,
  pool: readonly Framed[],
  protocol: Protocol,
  { pid, atOnce, times } = { pid: process.pid, atOnce: COLD_AT_ONCE, times: 1 },
): Promise<Asked> {
  const refused: string[] = []
  let bytes = 0
  const lane = await openStream(socket, pool)
  const mark = (_: number, answer: Buffer | undefined) => {
    bytes = answer?.length ?? 0
    const right = answer && (protocol.permits(answer) ?? protocol.read(answer).includes('echo'))
    if (!right) refused.push(answer ? protocol.read(answer).join(' ') || 'something else' : 'no answer')
    return right ? 'right' : 'wrong'
  }
  try {
    const target = { pid, lane, questions: pool.length, mark }
    const run = await load(
      target,
      { atOnce: Math.min(atOnce, pool.length), upTo: pool.length * times },
      RUN_AT_MOST_MS,
    )
    return { run, refused, bytes }
  } finally {
    lane.close()
  }
}

const SIGNATURES = 1_000

/** Microseconds of CPU of one verification and nothing else, here. */
function bareSignature(alg: 'RS256' | 'ES256'): number {
  const { privateKey, publicKey } = signingKey(alg)
  const text = Buffer.alloc(600, alg)
  const signature = sign('sha256', text, privateKey)
  const before = process.cpuUsage()
  for (let count = 0; count < SIGNATURES; count++)
    if (!verify('sha256', text, publicKey, signature)) throw new Error(`${alg}: not genuine`)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / SIGNATURES
}

function loadNow(): number {
  return loadavg()[0] ?? 0
}

function nowS(): number {
  return Math.floor(Date.now() / 1000)
}
