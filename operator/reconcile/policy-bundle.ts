import type { PolicyBundle, PolicyBundleStatus } from '../../contracts/crd/policy-bundle.ts'
import type { Problem } from '../gather/problems.ts'
import { bad, good, type Judged, judge, programmed, type Rollout, readyFrom, unsure } from './judgement.ts'

/** What became of the sources that were last looked at. */
export interface Attempt {
  readonly sourceDigest: string
  readonly outcome:
    | { readonly kind: 'unreadable'; readonly message: string }
    | { readonly kind: 'refused'; readonly stage: 'compile' | 'test'; readonly problems: readonly Problem[] }
    | { readonly kind: 'unsigned'; readonly message: string }
    | { readonly kind: 'signed'; readonly tests: number; readonly keyId: string }
}

/** What is in force. */
export interface InForce {
  readonly revision: string
  readonly wasm: { readonly sha256: string; readonly bytes: number }
}

/** What the status of a PolicyBundle is to say. */
export function planPolicyBundle(
  bundle: PolicyBundle,
  { attempt, inForce }: { readonly attempt: Attempt | undefined; readonly inForce: InForce | undefined },
  rollout: Rollout,
  at: number,
): PolicyBundleStatus {
  const { generation } = bundle.metadata
  const judged = [...stages(bundle, attempt, inForce), programmed(rollout)]
  const problems = attempt?.outcome.kind === 'refused' ? attempt.outcome.problems : []
  return {
    observedGeneration: generation,
    conditions: [...judge(bundle.status?.conditions, [...judged, readyFrom(judged)], { generation, at })],
    ...(inForce ? { revision: inForce.revision, wasm: inForce.wasm } : {}),
    ...(attempt?.sourceDigest ? { sourceDigest: attempt.sourceDigest } : {}),
    problems: problems.map(({ file, line, message }) => ({
      file: file.slice(0, 256),
      line,
      message: message.slice(0, 1024),
    })),
    programmed: rollout.text,
  }
}

function stages(
  bundle: PolicyBundle,
  attempt: Attempt | undefined,
  inForce: InForce | undefined,
): readonly Judged[] {
  const [compiled, tested, signed] = ['Compiled', 'TestsPassed', 'Signed']
  const waiting = (type: string) => unsure(type, 'Pending', 'not looked at yet')
  if (!attempt) return [compiled, tested, signed].map(waiting)
  const { outcome } = attempt
  const previous = inForce
    ? `; revision ${inForce.revision.slice(0, 19)} stays in force`
    : '; there is no earlier revision, so everything is denied'
  const blocked = (type: string) => unsure(type, 'Blocked', 'an earlier stage failed')
  switch (outcome.kind) {
    case 'unreadable':
      return [
        bad(compiled, 'SourceUnreadable', `spec.source: ${outcome.message}${previous}`),
        blocked(tested),
        blocked(signed),
      ]
    case 'refused': {
      const message = `${said(outcome.problems)}${previous}`
      if (outcome.stage === 'compile')
        return [bad(compiled, 'DoesNotCompile', message), blocked(tested), blocked(signed)]
      return [good(compiled, 'Checked'), bad(tested, 'TestsFailed', message), blocked(signed)]
    }
    case 'unsigned':
      return [
        good(compiled, 'Compiled'),
        passed(bundle, 0),
        bad(signed, 'NotSigned', `${outcome.message}${previous}`),
      ]
    case 'signed':
      return [
        good(compiled, 'Compiled'),
        passed(bundle, outcome.tests),
        good(signed, 'Signed', `by key ${outcome.keyId}`),
      ]
    default:
      return outcome satisfies never
  }
}

function passed({ spec }: PolicyBundle, tests: number): Judged {
  if (spec.tests === 'Skip') return good('TestsPassed', 'Skipped', 'spec.tests is Skip: nothing was tested')
  return good('TestsPassed', 'Passed', tests > 0 ? `${tests} tests` : '')
}

const SHOWN = 3

function said(problems: readonly Problem[]): string {
  const lines = problems.slice(0, SHOWN).map(({ file, line, message }) => {
    const place = file ? `${file}${line > 0 ? `:${line}` : ''}: ` : ''
    return `${place}${message}`
  })
  const more = problems.length > SHOWN ? ` and ${problems.length - SHOWN} more, see status.problems` : ''
  return `${lines.join('; ')}${more}`
}
