import type { Ask } from './http.ts'
import type { Asked, Logged, Stage } from './stage.ts'

// A story is scenes, a scene is rows, a row is one claim that is played and judged.

export interface Scene {
  readonly title: string
  readonly rows: readonly Row[]
}

export interface Row {
  readonly request: string
  readonly expected: string
  play(stage: Stage, cast: Cast): Promise<Outcome>
}

export interface Outcome {
  readonly answer: string
  readonly reason: string
  // Microseconds: the sidecar's own, and the whole check as the application saw it.
  readonly own?: number
  readonly seen?: number
  // What is wrong beside the answer itself.
  readonly faults?: readonly string[]
}

// Access tokens as the provider issued them, and one ID token.
export interface Cast {
  readonly alice: string
  readonly aliceReader: string
  readonly aliceId: string
  readonly bob: string
  readonly mallory: string
  readonly acmeRobot: string
  readonly globexRobot: string
}

export interface Wanted {
  readonly status: number
  // Reason of the denial; for an allowance the rule that allowed.
  readonly why: string
}

export type AskOf = (cast: Cast, stage: Stage) => Omit<Ask, 'id'> | Promise<Omit<Ask, 'id'>>

export const TIMES = 25

// One request to the sample application.
export function asks(request: string, wanted: Wanted, ask: AskOf): Row {
  return {
    request,
    expected: String(wanted.status),
    play: async (stage, cast) => judgedAll(await stage.askOften(await ask(cast, stage), TIMES), wanted),
  }
}

// The same request some times in a row: each answer must be the same to the byte, and the times are medians.
export function judgedAll(all: readonly Asked[], wanted: Wanted): Outcome {
  const outcomes = all.map((asked) => judged(asked, wanted))
  const [first] = outcomes
  if (!first) throw new Error('nothing was asked')
  const unlike = all.filter(({ seen }) => seen !== all[0]?.seen)
  const faults = new Set(outcomes.flatMap((outcome) => outcome.faults ?? []))
  if (unlike.length > 0) faults.add(`${unlike.length} of ${all.length} answers differ`)
  for (const { status, checked } of unlike) faults.add(`${status} ${checked.reason}: ${checked.detail}`)
  return { ...first, ...medianOf('own', outcomes), ...medianOf('seen', outcomes), faults: [...faults] }
}

export function judged(asked: Asked, wanted: Wanted): Outcome {
  const { status, checked, logged } = asked
  return {
    answer: String(status),
    reason: reasonOf(asked),
    ...(logged ? { own: logged.micros } : {}),
    ...(checked.micros > 0 ? { seen: checked.micros } : {}),
    faults: faultsOf([
      [status !== wanted.status, `expected ${wanted.status}`],
      [
        !(checked.allowed ? checked.rules : [checked.reason]).includes(wanted.why),
        `expected the reason ${wanted.why}`,
      ],
      [checked.allowed !== status < 300, 'the application did not do what its sidecar said'],
      [asked.served !== checked.allowed, 'the handler ran without permission, or did not run with it'],
      [logged !== undefined && !agrees(asked, logged), 'the decision log tells another story'],
      [leaks(asked), 'the response shows a rule or a decision id'],
    ]),
  }
}

function medianOf(name: 'own' | 'seen', outcomes: readonly Outcome[]): Partial<Outcome> {
  const values = outcomes.flatMap((outcome) => outcome[name] ?? [])
  return values.length === 0 ? {} : { [name]: median(values) }
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

export function faultsOf(table: readonly (readonly [wrong: boolean, fault: string])[]): readonly string[] {
  return table.filter(([wrong]) => wrong).map(([, fault]) => fault)
}

function reasonOf({ checked }: Asked): string {
  const rules = checked.rules.join(', ')
  if (checked.allowed) return rules
  return rules ? `${checked.reason} (${rules})` : checked.reason
}

function agrees({ checked }: Asked, logged: Logged): boolean {
  return logged.reason === checked.reason && logged.revision === checked.revision
}

// Diagnostics are for the application's log; the caller gets status, challenge and generic text. The one
// reason that RFC 6750 section 3.1 itself tells is insufficient_scope. Without a decision nothing is secret.
function leaks({ seen, checked }: Asked): boolean {
  const { allowed, rules, decision, reason } = checked
  const secrets = [...rules, decision, decision === '' || reason === 'insufficient_scope' ? '' : reason]
  return !allowed && secrets.some((secret) => secret !== '' && seen.includes(secret))
}
