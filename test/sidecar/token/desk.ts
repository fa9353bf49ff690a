import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline, type PipelinePlan } from '../../fixtures/pipeline.ts'
import { question } from '../../fixtures/question.ts'
import { type Forge, forge } from '../../fixtures/tokens.ts'

// Asks the whole real road about a token made at a known second. Alice's own invoice: whatever is denied is denied for the token.

export const NOW_S = 1_790_000_000
export const KEY = signingKey('RS256', 'desk')

export interface Desk {
  /** `allow`, or the reason of the denial. */
  verdict(wish?: Forge): Promise<string>
  /** The same for a token carried under another scheme. */
  verdictUnder(scheme: string, wish?: Forge): Promise<string>
}

export interface DeskPlan extends Partial<Omit<PipelinePlan, 'issuers' | 'now'>> {
  readonly skewS?: number
  readonly tenant?: PipelinePlan['issuers'][number]['tenant']
  /** Milliseconds within the second. */
  readonly ms?: number
}

export async function openDesk({ skewS = 60, tenant, ms = 0, ...plan }: DeskPlan = {}): Promise<Desk> {
  const issuers = [{ keys: [KEY], skewS, ...(tenant && { tenant }) }]
  const pipeline = await openPipeline({ ...plan, issuers, now: () => NOW_S * 1000 + ms })
  const verdictUnder = (scheme: string, wish: Forge = {}) =>
    pipeline.reason(question({ authorization: [`${scheme} ${forge({ key: KEY, at: NOW_S, ...wish })}`] }))
  return { verdictUnder, verdict: (wish) => verdictUnder('Bearer', wish) }
}
