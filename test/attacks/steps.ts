import { resolve } from 'node:path'
import type { CheckRequest as Message } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { type Caller, createDecide, type Steps } from '../../sidecar/decide.ts'
import { denied } from '../../sidecar/decision.ts'
import { readBundle } from '../../sidecar/feed/bundle-files.ts'
import { engineLimits, FLOOR_ENTRYPOINT, prepareBundle } from '../../sidecar/policy/bundle.ts'
import { createJudge } from '../../sidecar/policy/judge.ts'
import type { Fault, PolicyModule } from '../../sidecar/ports.ts'
import type { CheckRequest } from '../../sidecar/request.ts'
import { readRequest } from '../../sidecar/serve/codec.ts'
import { admit } from '../../sidecar/token/admit.ts'
import { present } from '../../sidecar/token/credentials.ts'
import { standing } from '../../sidecar/token/standing.ts'
import { createProve, createVerify, forgetful, type Verified } from '../../sidecar/token/verify.ts'
import { createKeys } from '../../sidecar/trust/keys.ts'
import type { Snapshot } from '../../sidecar/trust/snapshot.ts'
import { createTrustStore } from '../../sidecar/trust/store.ts'
import { PATIENT, type PipelinePlan } from '../fixtures/pipeline.ts'
import { openPossession } from '../fixtures/possession.ts'
import { question } from '../fixtures/question.ts'
import { openArena, said } from './arena.ts'

// The real steps of a check one by one, for tests that replace or watch some of them.

export interface OpenSteps {
  readonly steps: Steps
  readonly trust: Snapshot
  readonly floor: PolicyModule
  readonly faults: readonly Fault[]
}

export async function openSteps(plan: Partial<PipelinePlan> = {}): Promise<OpenSteps> {
  const { pipeline } = await openArena(plan)
  const { trust } = await pipeline.ask(question())
  if (!trust) throw new Error('the pipeline believes nothing')
  const bundle = await readBundle(resolve(import.meta.dirname, '../../policies/bundle'))
  const floor = await prepareBundle(bundle, FLOOR_ENTRYPOINT, engineLimits(64 * 1024 * 1024))
  const store = createTrustStore()
  store.swap(trust)
  const keys = createKeys({
    refresh: async () => false,
    installed: store.installed,
    now: () => 0,
    sleep: async () => undefined,
    lifetime: new AbortController().signal,
    inFlight: 1024,
  })
  const faults: Fault[] = []
  const broke = (fault: Fault) => void faults.push(fault)
  const { current } = store
  const { bind, spend, nonce } = openPossession(plan.replica)
  const steps = {
    wall: plan.now ?? Date.now,
    current,
    present,
    verify: createVerify(forgetful(createProve(keys.find))),
    confirm: (local: Verified) => local,
    bind,
    standing,
    admit,
    spend,
    nonce,
    judge: createJudge(floor),
    broke,
  }
  return { steps, trust, floor, faults }
}

export function requestOf(message: Message): CheckRequest {
  const request = readRequest(message)
  if (denied(request)) throw new Error(request.detail)
  return request
}

/** What the caller is told when the check is made of these steps. */
export async function told(
  steps: Steps,
  message: Message,
  atMs: number,
  caller: Caller = PATIENT,
): Promise<string> {
  return said(await createDecide({ ...steps, wall: () => atMs })(requestOf(message), caller))
}
