import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ROOT } from '../fixtures/sidecar.ts'
import { type Built, build, run } from './build.ts'
import {
  type Contestant,
  DATA_API,
  type Entrant,
  echoing,
  enter,
  SATURATED,
  STREAM,
  UNARY,
  UNARY_PACES,
} from './contest.ts'
import { load, type Pace, type Run } from './load.ts'
import { cores } from './meter.ts'
import { type Results, report, spread } from './report.ts'
import {
  echo,
  josePlusWasm,
  opa,
  SIDECAR_FLAGS,
  type SignatureFloor,
  sidecar,
  verifySignatures,
} from './servers.ts'
import { measureTokens } from './token-bench.ts'
import { type TokenResults, tokenSection, withSection } from './token-report.ts'
import { createWorkload } from './workload.ts'

// Portcullis beside two baselines and two floors, asked the same questions in the same way: see
// BENCHMARKS.md.

const PAGE = join(ROOT, 'BENCHMARKS.md')
/** From this heading on the page is kept as it is: what other commands measure (make e2e, make fleet). */
const ELSEWHERE = '## On a cluster'

function written(): string {
  return existsSync(PAGE) ? readFileSync(PAGE, 'utf8') : ''
}

function kept(): string {
  const page = written()
  const at = page.indexOf(ELSEWHERE)
  return at < 0 ? '' : page.slice(at)
}

/** How much of it: full for the record, quick for a first look. Milliseconds. */
const SIZES = {
  full: { tokens: 10_000, rounds: 3, runMs: 1_200, warmMs: 2_000, bound: { rounds: 5, asked: 1_600 } },
  quick: { tokens: 2_000, rounds: 1, runMs: 500, warmMs: 1_500, bound: { rounds: 2, asked: 300 } },
} as const
type Size = (typeof SIZES)[keyof typeof SIZES]

const CACHED_TOKENS = 1_000

process.exitCode = await main()

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean' },
      write: { type: 'boolean' },
      flags: { type: 'string' },
      only: { type: 'string' },
    },
  })
  const { only, write = false } = values
  const flags = values.flags === undefined ? SIDECAR_FLAGS : values.flags.split(' ').filter(Boolean)
  const size = values.quick ? SIZES.quick : SIZES.full
  try {
    if (only !== undefined && only !== 'tokens') throw new Error(`--only ${only}: only tokens can be alone`)
    return await (only ? tokensAlone(size, flags, write) : everything(size, flags, write))
  } catch (cause) {
    process.stderr.write(`bench: ${cause instanceof Error ? cause.message : cause}\n`)
    return 1
  }
}

async function everything(size: Size, flags: readonly string[], write: boolean): Promise<number> {
  const stage = prepare()
  const results = await measure(stage, size, flags)
  const bound = await tokens(stage, size, flags)
  const text = `${report(results).trimEnd()}\n\n${tokenSection(bound)}`
  process.stdout.write(text)
  if (write) writeFileSync(PAGE, `${text}\n${kept()}`)
  return results.cells.some(({ wrong }) => wrong > 0) || refused(bound) ? 1 : 0
}

async function tokensAlone(size: Size, flags: readonly string[], write: boolean): Promise<number> {
  const bound = await tokens(prepare(), size, flags)
  const section = tokenSection(bound)
  process.stdout.write(section)
  if (write) writeFileSync(PAGE, withSection(written(), section, ELSEWHERE))
  return refused(bound) ? 1 : 0
}

function tokens(
  { built, serverCore }: Stage,
  { bound }: Size,
  flags: readonly string[],
): Promise<TokenResults> {
  return measureTokens({ built, flags, serverCore, size: bound, say })
}

function refused({ rows }: TokenResults): boolean {
  return rows.some((row) => row.refused.length > 0)
}

interface Stage {
  readonly built: Built
  readonly serverCore: number
  readonly clientCore: number
  readonly startedAt: number
}

function prepare(): Stage {
  const startedAt = performance.now()
  const [serverCore = 0] = cores()
  const clientCore = cores().at(-1) ?? serverCore
  run('taskset', '-a', '-cp', String(clientCore), String(process.pid))
  say('building')
  return { built: build(), serverCore, clientCore, startedAt }
}

async function measure(stage: Stage, size: Size, flags: readonly string[]): Promise<Results> {
  const { built, serverCore, clientCore, startedAt } = stage
  const opaBinary = run('bash', 'test/toolchain/toolchain.sh', 'path', 'opa').trim()
  say(`signing ${size.tokens} tokens`)
  const workload = createWorkload(size.tokens)

  await using stack = new AsyncDisposableStack()
  const entrants: Entrant[] = []
  const admit = async (contestant: Contestant): Promise<Entrant> => {
    say(`${contestant.name}: starting, proving every answer, warming up`)
    const entrant = stack.use(await enter(contestant, workload, serverCore))
    entrants.push(entrant)
    for (const target of entrant.targets.values())
      await load(target, SATURATED, size.warmMs / entrant.targets.size)
    return entrant
  }
  const code = sidecar(built, flags)
  const unary = await admit(portcullis('Portcullis Check', code, UNARY, UNARY_PACES))
  const stream = await admit(portcullis('Portcullis CheckStream', code, STREAM, [SATURATED]))
  for (const contestant of others(built, opaBinary, unary.answerBytes, stream.answerBytes))
    await admit(contestant)

  const floor = () => signatureMicros(verifySignatures(built, serverCore, workload.tokens, size.runMs))
  const { cells, signature } = await inRounds(entrants, size, floor)
  const seconds = (performance.now() - startedAt) / 1000
  const { tokenBytes } = workload
  return {
    cells,
    signature,
    seconds,
    rounds: size.rounds,
    tokenBytes,
    tokens: size.tokens,
    flags,
    serverCore,
    clientCore,
    entrants,
  }
}

function portcullis(
  name: string,
  plan: Contestant['plan'],
  protocol: typeof UNARY,
  paces: readonly Pace[],
): Contestant {
  return { name, plan, protocol, pools: ['distinct', 'repeated'], paces }
}

// OPA gets its cache of verified tokens where it helps, and not where it could only cost.
function others(
  built: Built,
  opaBinary: string,
  unaryBytes: number,
  streamBytes: number,
): readonly Contestant[] {
  return [
    { name: 'opa run', plan: opa(opaBinary, 0), protocol: DATA_API, pools: ['distinct'], paces: UNARY_PACES },
    {
      name: 'opa run, JWT cache',
      plan: opa(opaBinary, CACHED_TOKENS),
      protocol: DATA_API,
      pools: ['repeated'],
      paces: UNARY_PACES,
    },
    {
      name: 'jose + opa-wasm',
      plan: josePlusWasm(built),
      protocol: UNARY,
      pools: ['distinct', 'repeated'],
      paces: UNARY_PACES,
    },
    {
      name: 'echo unary',
      plan: echo(built, unaryBytes),
      protocol: echoing(UNARY, unaryBytes),
      pools: ['distinct'],
      paces: UNARY_PACES,
    },
    {
      name: 'echo stream',
      plan: echo(built, streamBytes),
      protocol: echoing(STREAM, streamBytes),
      pools: ['distinct'],
      paces: [SATURATED],
    },
  ]
}

// Everybody once in each round, so that a noisy minute is shared by all.
async function inRounds(
  entrants: readonly Entrant[],
  size: Size,
  floor: () => number,
): Promise<Pick<Results, 'cells' | 'signature'>> {
  const plans = entrants.flatMap(({ contestant: { name, paces }, targets }) =>
    [...targets].flatMap(([pool, target]) =>
      paces.map((pace) => ({ name, pool, pace, target, runs: [] as Run[] })),
    ),
  )
  const signatures: number[] = []
  for (let round = 1; round <= size.rounds; round++) {
    say(`round ${round} of ${size.rounds}: ${plans.length + 1} runs of ${size.runMs} ms`)
    for (const { target, pace, runs } of plans) {
      await load(target, pace, size.runMs / 8)
      runs.push(await load(target, pace, size.runMs))
    }
    signatures.push(floor())
  }
  const cells = plans.map(({ target, runs, ...what }) => {
    const wrong = runs.reduce((sum, { answers }) => sum + answers.wrong, 0)
    return { ...what, runs, wrong }
  })
  return { cells, signature: spread(signatures) }
}

function signatureMicros({ count, genuine, micros }: SignatureFloor): number {
  if (count !== genuine) throw new Error(`bare signature check: ${count - genuine} of ${count} not genuine`)
  return micros / count
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}
