import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import * as sdk from '@open-policy-agent/opa-wasm'
import { createLocalJWKSet, type JSONWebKeySet, type JWTPayload, jwtVerify } from 'jose'
import {
  AuthorizerService,
  type CheckRequest,
  type CheckResponse,
  Reason,
} from '../../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'

// What one would build in an afternoon: jose for the token, the stock SDK for our two policy bundles,
// grpc-js unary, our contract. No log, no metrics, no deadline, no limits, no shape check of the verdict; a
// token with two "sub" is believed.

const { values } = parseArgs({
  options: {
    socket: { type: 'string' },
    jwks: { type: 'string' },
    floor: { type: 'string' },
    application: { type: 'string' },
    issuer: { type: 'string' },
    audience: { type: 'string' },
  },
})
const { socket = '', jwks = '', floor = '', application = '', issuer = '', audience = '' } = values

interface Verdict {
  readonly effect: string
  readonly allow: readonly string[]
  readonly deny: readonly { readonly rule: string; readonly reason: string; readonly hide: boolean }[]
}
interface Policy {
  setData(data: object): void
  evaluate(input: object, entrypoint: string): readonly { readonly result: Verdict }[]
}
// The package's types name exports that its ES module does not have.
const { loadPolicy } = (sdk as unknown as { readonly default: Sdk }).default
interface Sdk {
  loadPolicy(wasm: Uint8Array): Promise<Policy>
}

const keys = createLocalJWKSet(JSON.parse(readFileSync(jwks, 'utf8')) as JSONWebKeySet)
const floorPolicy = await policyFrom(floor)
const applicationPolicy = await policyFrom(application)

const server = new Server({ 'grpc.enable_channelz': 0 })
server.addService(
  { check: AuthorizerService.check },
  {
    check(call: ServerUnaryCall<CheckRequest, CheckResponse>, reply: sendUnaryData<CheckResponse>) {
      decide(call.request).then(
        (response) => reply(null, response),
        () => reply(null, denial(Reason.REASON_INTERNAL, [])),
      )
    },
  },
)
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
})

async function policyFrom(directory: string): Promise<Policy> {
  const policy = await loadPolicy(readFileSync(join(directory, 'policy.wasm')))
  policy.setData(JSON.parse(readFileSync(join(directory, 'data.json'), 'utf8')) as object)
  return policy
}

async function decide(request: CheckRequest): Promise<CheckResponse> {
  const line = request.headers.find(({ name }) => name === 'authorization')?.value
  const token = Buffer.from(line ?? [])
    .toString('latin1')
    .replace(/^Bearer /, '')
  const { payload, protectedHeader } = await jwtVerify(token, keys, {
    issuer,
    audience,
    algorithms: ['RS256'],
    typ: 'at+jwt',
    clockTolerance: 60,
    requiredClaims: ['exp', 'iat', 'sub', 'client_id', 'jti', 'tenant'],
  })
  if (!protectedHeader.kid) return denial(Reason.REASON_KID_MISSING, [])
  const input = inputFor(request, payload)
  const isolation = verdictOf(floorPolicy.evaluate(input, 'portcullis/floor/verdict'))
  const opinion = verdictOf(applicationPolicy.evaluate(input, 'portcullis/entry/verdict'))
  if (isolation.effect === 'allow' && opinion.effect === 'allow') return allowance(payload, opinion.allow)
  return refusal([...isolation.deny, ...opinion.deny])
}

function inputFor({ action, method, url, resource }: CheckRequest, payload: JWTPayload): object {
  const { sub, tenant, client_id, iss, roles, scope } = payload
  const kind = sub === client_id ? 'machine' : 'user'
  const subject = { id: sub, tenant, kind, client_id, issuer: iss, roles, scopes: String(scope).split(' ') }
  const { stored, request = {} } = resource ?? {}
  const now = Math.floor(Date.now() / 1000)
  return {
    version: 1,
    now,
    subject,
    token: payload,
    action,
    http: { method, url },
    resource: { stored, request },
  }
}

function verdictOf(results: readonly { readonly result: Verdict }[]): Verdict {
  return results[0]?.result ?? { effect: 'deny', allow: [], deny: [] }
}

function allowance(payload: JWTPayload, ruleIds: readonly string[]): CheckResponse {
  const principal = {
    issuer: payload.iss ?? '',
    subject: payload.sub ?? '',
    clientId: String(payload['client_id']),
    tenant: String(payload['tenant']),
    scopes: String(payload['scope']).split(' '),
    roles: Array.isArray(payload['roles']) ? payload['roles'].map(String) : [],
    expiresAt: payload.exp ?? 0,
  }
  return answer({ $case: 'allow', allow: { principal, ruleIds: [...ruleIds], headers: [] } })
}

const PRECEDENCE = [
  'tenant_mismatch',
  'insufficient_scope',
  'not_owner',
  'role_missing',
  'limit_exceeded',
] as const

function refusal(deny: Verdict['deny']): CheckResponse {
  const reason = PRECEDENCE.find((one) => deny.some((rule) => rule.reason === one)) ?? 'policy_denied'
  const name = `REASON_${reason.toUpperCase()}`
  const [, number = Reason.REASON_POLICY_DENIED] =
    Object.entries(Reason).find(([known]) => known === name) ?? []
  return denial(
    number,
    deny.map(({ rule }) => rule),
  )
}

function denial(reason: Reason, ruleIds: string[]): CheckResponse {
  const client = { status: 403, headers: [], text: 'Not allowed.', grpcStatus: 7 }
  return answer({ $case: 'deny', deny: { client, diagnostic: { reason, ruleIds, detail: '' } } })
}

function answer(outcome: NonNullable<CheckResponse['outcome']>): CheckResponse {
  return { outcome, decisionId: 'baseline', policyRevision: 'baseline', trustGeneration: 1 }
}
