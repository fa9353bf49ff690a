import { expect, test } from 'vitest'
import { CheckResponse } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Caller, Outcome } from '../../sidecar/decide.ts'
import type { Reason } from '../../sidecar/decision.ts'
import { encodeResponse } from '../../sidecar/serve/codec.ts'
import type { SigningKey } from '../fixtures/keys.ts'
import { signingKey } from '../fixtures/keys.ts'
import { type IssuerPlan, openPipeline, type Pipeline, type PipelinePlan } from '../fixtures/pipeline.ts'
import { type Asked, question, verdictOf } from '../fixtures/question.ts'
import { type Forge, forge } from '../fixtures/tokens.ts'

// Where attacks meet the real parts of the sidecar. One moment per file: nothing here waits for the clock.

export const AT_S = Math.floor(Date.now() / 1000)

/** A token as it is, or how to forge it. */
export type Weapon = Forge | string
export type Attack = readonly [claim: string, weapon: Weapon, reason: Reason]
export type Control = readonly [claim: string, weapon: Weapon]

export interface Arena {
  readonly pipeline: Pipeline
  /** `allow` or the reason of the denial, read back from the bytes that go to the caller. */
  verdict(weapon: Weapon, asked?: Asked, caller?: Caller): Promise<string>
}

/** One issuer with one RS256 key, unless told otherwise. */
export async function openArena(plan: Partial<PipelinePlan> = {}): Promise<Arena> {
  const pipeline = await openPipeline({ ...trusting(signingKey()), now: () => AT_S * 1000, ...plan })
  return {
    pipeline,
    async verdict(weapon, asked = {}, caller) {
      const outcome = await pipeline.ask(question({ token: tokenOf(weapon), ...asked }), caller)
      return said(outcome)
    },
  }
}

/** What goes out to the caller, read back from its bytes; `unsayable` when there is no way to put it. */
export function said(outcome: Outcome): string {
  try {
    return verdictOf(CheckResponse.decode(encodeResponse(outcome, 'id', 'invoice:read')))
  } catch {
    return 'unsayable'
  }
}

/** One issuer with these keys, and their algorithms allowed. */
export function trusting(...keys: readonly SigningKey[]): { readonly issuers: readonly [IssuerPlan] } {
  return { issuers: [{ keys, algorithms: [...new Set(keys.map(({ alg }) => alg))] }] }
}

export function tokenOf(weapon: Weapon): string {
  return typeof weapon === 'string' ? weapon : forge({ at: AT_S, ...weapon })
}

/** An issuer's tenants: those that this claim names. */
export function tenantsBy(claim: string, allowed: readonly string[]): NonNullable<IssuerPlan['tenant']> {
  return { $case: 'tenantClaim', tenantClaim: { claim, allowed: [...allowed] } }
}

/** One test a row: the attack is refused, and for this reason. */
export function refuses(arena: Arena, attacks: readonly Attack[]): void {
  for (const [claim, weapon, reason] of attacks) {
    test(`${claim} is refused as ${reason}`, async () => {
      expect(await arena.verdict(weapon)).toBe(reason)
    })
  }
}

/** One test a row: what an honest caller may send is allowed, or the refusals beside it prove nothing. */
export function admits(arena: Arena, controls: readonly Control[]): void {
  for (const [claim, weapon] of controls) {
    test(`${claim} is allowed`, async () => {
      expect(await arena.verdict(weapon)).toBe('allow')
    })
  }
}

/** The same attack in many spellings. */
export function spellings<T>(values: readonly T[], attack: (value: T) => Attack): readonly Attack[] {
  return values.map(attack)
}
