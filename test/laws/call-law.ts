import fc from 'fast-check'
import { AT_S, said, tenantsBy } from '../attacks/arena.ts'
import { openDpopArena } from '../attacks/dpop-arena.ts'
import { question } from '../fixtures/question.ts'
import { type Call, callMutant } from './call-mutants.ts'
import { createCallReference } from './call-reference.ts'
import { RULES } from './call-world.ts'
import { KEYS } from './mutants.ts'
import { createTally } from './world.ts'

// The law for whole calls: never an allow that the second opinion would refuse. Reference and memory of used proofs are new each time.

const TENANTS = ['acme', 'globex']
const ALGORITHMS = ['Ed25519', 'ES256', 'RS256']

export interface Judged {
  /** The call that broke the law, and why it should have been refused. */
  readonly broken: string | undefined
  readonly allowed: number
  readonly reasons: ReadonlyMap<string, number>
}

export async function judgeCalls(cases: number, seed: number): Promise<Judged> {
  const issuers = [{ keys: KEYS, algorithms: ALGORITHMS, tenant: tenantsBy('tenant', TENANTS) }]
  // Time stands still, for the memory of used proofs too: a slow machine must not make it forget one.
  const { pipeline } = await openDpopArena({ issuers, tokens: RULES, replica: { now: () => 0 } })
  // Without "alg" in its keys: jose compares the names EdDSA and Ed25519 as text.
  const published = KEYS.map(({ jwk: { alg: _, ...jwk } }) => jwk)
  const rules = { atS: AT_S, skewS: 60, lifetimeS: 3600, tenants: TENANTS, scope: 'invoice:read' }
  const reference = createCallReference(published, [...ALGORITHMS, 'EdDSA'], rules)
  const tally = createTally()
  const reasons = new Map<string, number>()
  const law = fc.asyncProperty(callMutant(AT_S), async (call) => {
    const ours = said(await pipeline.ask(messageOf(call)))
    tally.note(ours)
    reasons.set(ours, (reasons.get(ours) ?? 0) + 1)
    // A refusal needs no second opinion.
    if (ours !== 'allow') return
    const theirs = await reference(call)
    if (theirs !== 'allow') throw new Error(`allowed, and the reference says ${theirs}`)
  })
  // Not shrunk: a proof that was used is another case than the same one before.
  const run = await fc.check(law, { numRuns: cases, seed, endOnFailure: true })
  const broken = run.failed ? `${run.errorInstance} in ${JSON.stringify(run.counterexample)}` : undefined
  return { broken, allowed: tally.of('allow'), reasons }
}

// A resource that everybody of its tenant may read: the answer is about the token and its proof alone.
export function messageOf({ token, scheme, proofs, method, url, xfcc, peer }: Call) {
  const stored = { owner: 'somebody', attributes: { visibility: 'tenant' } }
  const message = question({ authorization: [`${scheme} ${token}`], method, url, stored })
  const lines = [
    ...proofs.map((value) => ({ name: 'dpop', value: Buffer.from(value, 'latin1') })),
    ...xfcc.map((value) => ({ name: 'x-forwarded-client-cert', value: Buffer.from(value, 'latin1') })),
  ]
  return {
    ...message,
    headers: [...message.headers, ...lines],
    ...(peer && { peerCertificate: peer }),
  }
}
