import { Buffer } from 'node:buffer'
import { expect, test } from 'vitest'
import { encodeTokenQuestion, isVouched, readVerification } from '../../contracts/client/verification.ts'
import {
  TokenKind,
  type VerifiedToken,
  VerifyTokenRequest,
  VerifyTokenResponse,
} from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'

// Only a complete answer vouches; whatever is damaged, partial or doubled is a refusal.

const VERIFIED: VerifiedToken = {
  kind: TokenKind.TOKEN_KIND_ID_TOKEN,
  issuer: 'https://idp.example',
  subject: 'alice',
  clientId: 'web',
  tenant: '',
  claimsJson: Buffer.from('{"sub":"alice"}'),
  expiresAt: 1_800_000_000,
}
const answer = (change: Partial<VerifiedToken> = {}, decisionId = 'd-1'): Uint8Array =>
  VerifyTokenResponse.encode({
    outcome: { $case: 'verified', verified: { ...VERIFIED, ...change } },
    decisionId,
    trustGeneration: 7,
  }).finish()
const twice = (bytes: Uint8Array): Uint8Array => Buffer.concat([bytes, bytes])

test('a complete answer vouches, and a copy of it does not', () => {
  const verification = readVerification(answer())
  expect(verification).toMatchObject({ kind: 'verified', tokenKind: 'id_token', claims: { sub: 'alice' } })
  expect(isVouched(verification)).toBe(true)
  expect(isVouched({ ...verification })).toBe(false)
  expect(Object.isFrozen(verification)).toBe(true)
})

test.each<readonly [what: string, bytes: Uint8Array]>([
  ['nothing', new Uint8Array()],
  ['no kind', answer({ kind: TokenKind.TOKEN_KIND_UNSPECIFIED })],
  ['no issuer', answer({ issuer: '' })],
  ['claims that are no object', answer({ claimsJson: Buffer.from('[]') })],
  ['claims that are no JSON', answer({ claimsJson: Buffer.from('{') })],
  ['no claims', answer({ claimsJson: Buffer.alloc(0) })],
  ['no decision id', answer({}, '')],
  ['an answer twice', twice(answer())],
  ['bytes after it', Buffer.concat([answer(), Buffer.from([0])])],
  ['half of it', answer().subarray(0, 20)],
  [
    'a refusal that reads as a success',
    VerifyTokenResponse.encode({
      outcome: {
        $case: 'deny',
        deny: { client: { status: 200, headers: [], text: '', grpcStatus: 0 }, diagnostic: undefined },
      },
      decisionId: 'd-1',
      trustGeneration: 7,
    }).finish(),
  ],
])('%s vouches for nothing', (_what, bytes) => {
  expect(readVerification(bytes)).toMatchObject({ kind: 'deny', cause: 'invalid_answer' })
})

test('an ID token without a nonce that was sent is not one with an empty nonce', () => {
  const encoded = encodeTokenQuestion({ kind: 'id_token', clientId: 'web', token: 'a.b.c' })
  const message = encoded.ok ? VerifyTokenRequest.decode(encoded.bytes) : undefined
  expect(message?.profile).toMatchObject({ $case: 'idToken', idToken: { clientId: 'web' } })
  expect(message?.profile?.$case === 'idToken' && message.profile.idToken.nonce).toBeUndefined()
})

test.each([
  ['no token', { kind: 'access_token', token: '' }],
  ['a token of more than 8 KiB', { kind: 'access_token', token: 'x'.repeat(8193) }],
  ['a token that is no bytes', { kind: 'access_token', token: '\u0100' }],
  ['a kind that there is not', { kind: 'refresh_token', token: 'a.b.c' }],
  ['no kind', { token: 'a.b.c' }],
  ['a lone surrogate', { kind: 'logout_token', clientId: '\ud800', token: 'a.b.c' }],
  ['an age that is none', { kind: 'id_token', clientId: 'web', maxAgeS: -1, token: 'a.b.c' }],
  ['a list that is none', { kind: 'id_token', clientId: 'web', acrValues: 7, token: 'a.b.c' }],
])('%s is not sent', (_what, question) => {
  expect(encodeTokenQuestion(question as never)).toMatchObject({ ok: false })
})
