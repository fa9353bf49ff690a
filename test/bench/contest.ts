import { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { verdictOf } from '../fixtures/question.ts'
import { checkOf, openStream, openUnary } from './grpc-lane.ts'
import { type Command, type Host, type Place, startHost } from './host.ts'
import { openHttp } from './http-lane.ts'
import type { Answer, Lane } from './lane.ts'
import { askAll, type Mark, type Pace, type Target } from './load.ts'
import type { Question, Workload } from './workload.ts'

// Who is compared, how each is asked, and how its answers are read.

export type Pool = 'distinct' | 'repeated'

export interface Contestant {
  readonly name: string
  readonly plan: (place: Place) => Command
  readonly protocol: Protocol
  readonly pools: readonly Pool[]
  readonly paces: readonly Pace[]
}

/**
 * How to ask, what an answer says, and a cheap look at whether it permits, for the time in which the clock
 * runs.
 */
export interface Protocol {
  readonly open: (socket: string, pool: readonly Question[]) => Promise<Lane>
  /** `allow`, or the reasons of the denial. */
  readonly read: (answer: Buffer) => readonly string[]
  readonly permits: (answer: Buffer) => boolean | undefined
}

export const SINGLE: Pace = { atOnce: 1 }
export const SATURATED: Pace = { atOnce: 64 }
export const UNARY_PACES: readonly Pace[] = [SINGLE, SATURATED, { perSecond: 1_000 }, { perSecond: 5_000 }]

// Of CheckResponse: `allow = 1` and `deny = 2`, whichever is there comes first.
const ALLOW_TAG = 0x0a
const DENY_TAG = 0x12

export const UNARY: Protocol = {
  open: openUnary,
  read: (answer) => [verdictOf(CheckResponse.decode(answer))],
  permits: tagged,
}

export const STREAM: Protocol = {
  open: openStream,
  read: (answer) => [verdictOf(CheckResponse.decode(checkOf(answer)))],
  permits: (answer) => tagged(checkOf(answer)),
}

export const DATA_API: Protocol = {
  open: async (socket, pool) => openHttp(socket, '/v1/data/bench/decision', pool),
  read: (answer) => {
    const { result } = JSON.parse(answer.toString()) as { result?: { allow?: unknown; reasons?: string[] } }
    return result?.allow === true ? ['allow'] : (result?.reasons ?? [])
  },
  permits: (answer) => answer.includes('"allow":true'),
}

function tagged(answer: Buffer): boolean | undefined {
  const [tag] = answer
  return tag === ALLOW_TAG ? true : tag === DENY_TAG ? false : undefined
}

/**
 * An echo has no opinion: what comes back must be the question's own beginning, which its lane or length
 * has shown.
 */
export function echoing(protocol: Protocol, bytes: number): Protocol {
  return {
    ...protocol,
    read: (answer) => (answer.length === bytes ? ['echo'] : []),
    permits: () => undefined,
  }
}

/** A contestant that is up, has answered every question of each pool rightly, and is warm. */
export interface Entrant extends AsyncDisposable {
  readonly contestant: Contestant
  readonly host: Host
  readonly targets: ReadonlyMap<Pool, Target>
  /** Mean bytes of an answer. */
  readonly answerBytes: number
}

const WARM_UP_AT_ONCE = 32
const SHOWN_WRONG = 5

export async function enter(contestant: Contestant, workload: Workload, core: number): Promise<Entrant> {
  const { protocol, pools } = contestant
  const host = await startHost(core, contestant.plan, (socket) =>
    answersRightly(socket, protocol, workload.distinct),
  )
  const targets = new Map<Pool, Target>()
  let bytes = 0
  try {
    for (const pool of pools) {
      const questions = workload[pool]
      const lane = await protocol.open(host.socket, questions)
      bytes = await prove(contestant, lane, questions)
      targets.set(pool, {
        pid: host.pid,
        lane,
        questions: questions.length,
        mark: markBy(protocol, questions),
      })
    }
  } catch (cause) {
    await host[Symbol.asyncDispose]()
    throw cause
  }
  const close = async () => {
    for (const { lane } of targets.values()) lane.close()
    await host[Symbol.asyncDispose]()
  }
  return { contestant, host, targets, answerBytes: bytes, [Symbol.asyncDispose]: close }
}

async function answersRightly(
  socket: string,
  protocol: Protocol,
  pool: readonly Question[],
): Promise<boolean> {
  const lane = await protocol.open(socket, pool)
  const answer = await new Promise<Answer>((resolve) => lane.ask(0, (_, bytes) => resolve(bytes)))
  lane.close()
  return right(protocol, pool, 0, answer)
}

function right(protocol: Protocol, pool: readonly Question[], index: number, answer: Answer): boolean {
  const said = answer ? protocol.read(answer) : []
  return said.includes('echo') || said.includes(pool[index]?.want ?? '')
}

// Correct before fast: every answer is read in full before anything is timed.
async function prove({ name, protocol }: Contestant, lane: Lane, pool: readonly Question[]): Promise<number> {
  const wrong: string[] = []
  let bytes = 0
  await askAll({ lane, questions: pool.length }, WARM_UP_AT_ONCE, (index, answer) => {
    bytes += answer?.length ?? 0
    if (right(protocol, pool, index, answer)) return
    const said = answer ? protocol.read(answer).join(' ') : 'nothing'
    wrong.push(`question ${index}: ${pool[index]?.want} expected, ${said} answered`)
  })
  if (wrong.length > 0) {
    throw new Error(`${name}: ${wrong.length} wrong answers\n  ${wrong.slice(0, SHOWN_WRONG).join('\n  ')}`)
  }
  return Math.round(bytes / pool.length)
}

const SHED = new Set(['overloaded', 'deadline'])

function markBy(protocol: Protocol, pool: readonly Question[]): Target['mark'] {
  return (index, answer): Mark => {
    if (!answer) return 'wrong'
    const permits = protocol.permits(answer)
    if (permits === (pool[index]?.want === 'allow')) return 'right'
    const said = protocol.read(answer)
    if (said.includes('echo')) return 'right'
    return said.some((reason) => SHED.has(reason)) ? 'shed' : 'wrong'
  }
}
