import type { CheckRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import type { Idp } from '../fixtures/idp.ts'
import { question } from '../fixtures/question.ts'

// What is asked with tokens of the real provider, and what must come back.

export interface Cast {
  readonly idp: Idp
  readonly alice: string
  readonly aliceReadsOnly: string
  readonly aliceId: string
  readonly bob: string
  readonly mallory: string
  readonly robot: string
}

export interface Row {
  readonly claim: string
  readonly ask: (cast: Cast) => CheckRequest | Promise<CheckRequest>
  readonly verdict: string
  readonly status: number
  readonly challenge?: string
}

const INVALID = 'Bearer error="invalid_token"'
const BAD_REQUEST = 'Bearer error="invalid_request"'
const shared = { attributes: { visibility: 'tenant' } }
const now = () => Math.floor(Date.now() / 1000)

export const ALLOWED: readonly Row[] = [
  {
    claim: 'the owner reads her private invoice (code flow)',
    ask: ({ alice }) => question({ token: alice }),
    verdict: 'allow',
    status: 200,
  },
  {
    claim: 'the owner edits it',
    ask: ({ alice }) => question({ token: alice, action: 'invoice:edit', method: 'PUT' }),
    verdict: 'allow',
    status: 200,
  },
  {
    claim: 'the owner refunds within the limit',
    ask: ({ alice }) => question({ token: alice, action: 'invoice:refund', request: { amount: 100 } }),
    verdict: 'allow',
    status: 200,
  },
  {
    claim: 'a colleague reads a shared one',
    ask: ({ bob }) => question({ token: bob, stored: shared }),
    verdict: 'allow',
    status: 200,
  },
  {
    claim: 'a machine of the tenant reads a shared one (client_credentials)',
    ask: ({ robot }) => question({ token: robot, stored: shared }),
    verdict: 'allow',
    status: 200,
  },
  {
    claim: 'the scheme is compared without case',
    ask: ({ alice }) => question({ authorization: [`bEARER ${alice}`] }),
    verdict: 'allow',
    status: 200,
  },
]

export const CREDENTIALS: readonly Row[] = [
  {
    claim: 'no credential',
    ask: () => question(),
    verdict: 'token_missing',
    status: 401,
    challenge: 'Bearer',
  },
  {
    claim: 'two Authorization lines, both good',
    ask: ({ alice }) => question({ authorization: [`Bearer ${alice}`, `Bearer ${alice}`] }),
    verdict: 'auth_multiple',
    status: 400,
    challenge: BAD_REQUEST,
  },
  {
    claim: 'a token in the URL beside the one in the header',
    ask: ({ alice }) => question({ token: alice, url: `/invoices/inv-1?access_token=${alice}` }),
    verdict: 'token_in_query',
    status: 400,
    challenge: BAD_REQUEST,
  },
  {
    claim: 'an ID token where an access token belongs',
    ask: ({ aliceId }) => question({ token: aliceId }),
    verdict: 'typ_mismatch',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'one character of the signature changed',
    ask: ({ alice }) => question({ token: tampered(alice) }),
    verdict: 'sig_invalid',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'alg none',
    ask: ({ alice }) => question({ token: withHeader(alice, { alg: 'none' }) }),
    verdict: 'alg_not_allowed',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'HS256 with the public key as its secret',
    ask: async ({ idp }) =>
      question({ token: await idp.mint({}, { alg: 'HS256', key: Buffer.from(idp.publicPem()) }) }),
    verdict: 'alg_not_allowed',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'expired beyond the skew',
    ask: async ({ idp }) => question({ token: await idp.mint({ iat: now() - 400, exp: now() - 100 }) }),
    verdict: 'expired',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'somebody else as audience',
    ask: async ({ idp }) => question({ token: await idp.mint({ aud: 'https://other.example' }) }),
    verdict: 'aud_mismatch',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'an issuer we do not know',
    ask: async ({ idp }) => question({ token: await idp.mint({ iss: 'https://evil.example' }) }),
    verdict: 'iss_unknown',
    status: 401,
    challenge: INVALID,
  },
  {
    claim: 'a tenant that this issuer may not speak for',
    ask: async ({ idp }) => question({ token: await idp.mint({ tenant: 'initech' }) }),
    verdict: 'issuer_tenant_mismatch',
    status: 401,
    challenge: INVALID,
  },
]

export const RULES: readonly Row[] = [
  {
    claim: 'a scope that was not granted',
    ask: ({ aliceReadsOnly }) => question({ token: aliceReadsOnly, action: 'invoice:edit' }),
    verdict: 'insufficient_scope',
    status: 403,
    challenge: 'Bearer error="insufficient_scope", scope="invoice:edit"',
  },
  {
    claim: 'another tenant learns nothing, not even that it exists',
    ask: ({ mallory }) => question({ token: mallory, stored: shared }),
    verdict: 'tenant_mismatch',
    status: 404,
  },
  {
    claim: 'a colleague learns nothing of a private one',
    ask: ({ bob }) => question({ token: bob }),
    verdict: 'not_owner',
    status: 404,
  },
  {
    claim: 'a colleague may not edit a shared one',
    ask: ({ bob }) => question({ token: bob, action: 'invoice:edit', stored: shared }),
    verdict: 'not_owner',
    status: 403,
  },
  {
    claim: 'a refund over the limit',
    ask: ({ alice }) =>
      question({
        token: alice,
        action: 'invoice:refund',
        stored: { attributes: { amount: 900 } },
        request: { amount: 501 },
      }),
    verdict: 'limit_exceeded',
    status: 403,
  },
  {
    claim: 'a refund without the role',
    ask: ({ bob }) =>
      question({ token: bob, action: 'invoice:refund', stored: { owner: 'bob' }, request: { amount: 1 } }),
    verdict: 'role_missing',
    status: 403,
  },
  {
    claim: 'a question without a method',
    ask: ({ alice }) => question({ token: alice, method: '' }),
    verdict: 'request_invalid',
    status: 400,
  },
]

function tampered(token: string): string {
  const at = token.length - 20
  return `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
}

function withHeader(token: string, over: Readonly<Record<string, unknown>>): string {
  const [header = '', ...rest] = token.split('.')
  const members: unknown = JSON.parse(Buffer.from(header, 'base64url').toString())
  const changed = { ...(typeof members === 'object' ? members : {}), ...over }
  return [Buffer.from(JSON.stringify(changed)).toString('base64url'), ...rest].join('.')
}
