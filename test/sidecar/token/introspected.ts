import { denied } from '../../../sidecar/decision.ts'
import type { JsonObject } from '../../../sidecar/request.ts'
import { readRequest } from '../../../sidecar/serve/codec.ts'
import type { Asked } from '../../../sidecar/token/binding.ts'
import { present } from '../../../sidecar/token/credentials.ts'
import type { VerifiedToken } from '../../../sidecar/token/verify.ts'
import { parseTokenRules } from '../../../sidecar/trust/token-rules.ts'
import { without } from '../../fixtures/keys.ts'
import { openPossession } from '../../fixtures/possession.ts'
import { BASE_URL, forgeProof } from '../../fixtures/proofs.ts'
import { question } from '../../fixtures/question.ts'

const AT_S = 1_790_000_000

/** Binds a token of which only claims are known, as introspection leaves it: `bound`, or the reason of the refusal. */
export function introspected(claims: Readonly<Record<string, unknown>>, scheme: string): string {
  const tokens = parseTokenRules({
    ...{ audience: '', exclusiveAudience: false, maxTokenLifetimeS: 0, leases: undefined, routes: [] },
    tokens: {
      ...{ externalBaseUrl: BASE_URL, strippedPrefix: '', trustedHops: [], certificateHeader: 0, ownId: '' },
      ...{ deniedAudiences: [], firstPartyScopes: [], requirements: undefined },
    },
  })
  if (!('edge' in tokens)) throw new Error(tokens.join())
  const message = question({ authorization: [`${scheme} opaque`] })
  const proof = { name: 'dpop', value: Buffer.from(forgeProof({ token: 'opaque', at: AT_S })) }
  const request = readRequest({ ...message, headers: [...message.headers, proof] })
  const presented = denied(request) ? request : present(request)
  if (denied(request) || denied(presented)) throw new Error('the question is wrong')
  const token = { claims: without(claims) as JsonObject, claimsJson: '', kid: '' } as VerifiedToken
  const asked: Asked = { request, trust: { tokens }, at: AT_S * 1000 }
  const bound = openPossession().bind(token, presented, asked)
  return denied(bound) ? bound.reason : 'bound'
}
