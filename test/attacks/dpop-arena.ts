import { expect, test } from 'vitest'
import type { CheckRequest as Message } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Outcome } from '../../sidecar/decide.ts'
import type { Reason } from '../../sidecar/decision.ts'
import type { PipelinePlan } from '../fixtures/pipeline.ts'
import { BASE_URL, CLIENT_KEY, forgeProof, jktOf, type ProofForge } from '../fixtures/proofs.ts'
import { type Asked, question } from '../fixtures/question.ts'
import type { Forge } from '../fixtures/tokens.ts'
import { AT_S, openArena, said, tokenOf } from './arena.ts'

// Where proofs of possession meet the real parts of the sidecar.

/** What is sent: a token bound to the client's key unless told otherwise, a proof for it, and the request around them. */
export interface Call extends Omit<Asked, 'token' | 'authorization'> {
  readonly token?: Forge | string
  readonly scheme?: string
  /** How the proof is forged; whole lines; or none. */
  readonly proof?: ProofForge | readonly string[] | undefined
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly peerCertificate?: Buffer
}

export interface DpopArena {
  readonly pipeline: Awaited<ReturnType<typeof openArena>>['pipeline']
  ask(call?: Call): Promise<Outcome>
  /** `allow` or the reason of the denial, read back from the bytes that go to the caller. */
  verdict(call?: Call): Promise<string>
}

export const BOUND: Forge = { claims: { cnf: { jkt: jktOf(CLIENT_KEY) } } }

export async function openDpopArena(plan: Partial<PipelinePlan> = {}): Promise<DpopArena> {
  const { pipeline } = await openArena({ tokens: { externalBaseUrl: BASE_URL }, ...plan })
  const ask = (call: Call = {}) => pipeline.ask(messageOf(call))
  return { pipeline, ask, verdict: async (call) => said(await ask(call)) }
}

export function messageOf(call: Call = {}): Message {
  const { token: weapon = BOUND, scheme = 'DPoP', proof = {}, headers = [], peerCertificate, ...asked } = call
  const token = tokenOf(weapon)
  const lines = Array.isArray(proof)
    ? proof
    : 'proof' in call && call.proof === undefined
      ? []
      : [forgeProof({ token, at: AT_S, ...(proof as ProofForge) })]
  const message = question({ ...asked, authorization: [`${scheme} ${token}`] })
  const further = [...lines.map((line) => ['dpop', line] as const), ...headers]
  return {
    ...message,
    headers: [
      ...message.headers,
      ...further.map(([name, value]) => ({ name, value: Buffer.from(value, 'latin1') })),
    ],
    ...(peerCertificate && { peerCertificate }),
  }
}

export type ProofAttack = readonly [claim: string, call: Call, reason: Reason | 'allow']

/** One test a row, each against its own arena's memory. */
export function judgesProofs(arena: DpopArena, rows: readonly ProofAttack[]): void {
  for (const [claim, call, want] of rows) {
    test(`${claim} ${want === 'allow' ? 'is allowed' : `is refused as ${want}`}`, async () => {
      expect(await arena.verdict(call)).toBe(want)
    })
  }
}
