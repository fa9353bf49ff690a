import type { Decided } from '../../../sidecar/decision.ts'
import { denied } from '../../../sidecar/decision.ts'
import { readRequest } from '../../../sidecar/serve/codec.ts'
import { signingKey } from '../../fixtures/keys.ts'
import { openPipeline, type Pipeline } from '../../fixtures/pipeline.ts'
import { type Asked, question } from '../../fixtures/question.ts'
import { type Forge, forge } from '../../fixtures/tokens.ts'

// Finished decisions, as the checks hand them to the record: real ones.

const KEY = signingKey()
let pipeline: Promise<Pipeline> | undefined

export async function decided(wish: Forge = {}, asked: Asked = {}): Promise<Decided> {
  pipeline ??= openPipeline({ issuers: [{ keys: [KEY] }] })
  const message = question({ token: forge({ key: KEY, ...wish }), ...asked })
  const { decision, principal, trust } = await (await pipeline).ask(message)
  const request = readRequest(message)
  return {
    decision,
    principal,
    policyRevision: trust?.policy.revision ?? '',
    trustGeneration: trust?.generation ?? 0,
    request: denied(request) ? undefined : request,
    decisionId: 'id-1',
    elapsedMs: 0.1234,
  }
}
