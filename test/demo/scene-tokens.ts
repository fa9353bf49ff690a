import { hmacSigner } from '../fixtures/keys.ts'
import { forge, unsigned } from '../fixtures/tokens.ts'
import { type AskOf, asks, type Row, type Scene } from './scene.ts'

export const tokens: Scene = {
  title: 'Tokens that are not what they should be (real ones of the provider, then changed or forged)',
  rows: [
    refused('no token', 'token_missing', () => ({ path })),
    refused('expired ten minutes ago, rightly signed', 'expired', async (_cast, { idp }) =>
      bearer(await idp.mint({ iat: nowS() - 900, exp: nowS() - 600 })),
    ),
    refused('meant for another audience, rightly signed', 'aud_mismatch', async (_cast, { idp }) =>
      bearer(await idp.mint({ aud: 'https://other.demo.example' })),
    ),
    refused('alg none, signature dropped', 'alg_not_allowed', ({ alice }) =>
      bearer(forged(alice, 'none', unsigned)),
    ),
    refused('tampered: bob made his token say alice', 'sig_invalid', ({ bob }) =>
      bearer(changed(bob, (claims) => ({ ...claims, sub: 'alice' }))),
    ),
    refused("alice's ID token as access token", 'typ_mismatch', ({ aliceId }) => bearer(aliceId)),
    refused("HS256 with the provider's public key as secret", 'alg_not_allowed', ({ alice }, { idp }) =>
      bearer(forged(alice, 'HS256', hmacSigner(idp.publicPem()))),
    ),
    asks('two Authorization lines, both good', { status: 400, why: 'auth_multiple' }, ({ alice, bob }) => ({
      path,
      authorization: [`Bearer ${alice}`, `Bearer ${bob}`],
    })),
  ],
}

const path = '/invoices/a-1'

function refused(request: string, why: string, ask: AskOf): Row {
  return asks(request, { status: 401, why }, ask)
}

function bearer(token: string) {
  return { path, token }
}

// The claims and the kid of a real token under another algorithm.
function forged(token: string, alg: string, sign: (input: Buffer) => Buffer): string {
  const [header = '', payload = ''] = token.split('.')
  return forge({
    headerText: JSON.stringify({ ...objectIn(header), alg }),
    payloadText: Buffer.from(payload, 'base64url'),
    sign,
  })
}

function changed(token: string, change: (claims: object) => object): string {
  const [header, payload = '', signature] = token.split('.')
  return [
    header,
    Buffer.from(JSON.stringify(change(objectIn(payload)))).toString('base64url'),
    signature,
  ].join('.')
}

function objectIn(segment: string): object {
  const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString())
  if (typeof value !== 'object' || value === null) throw new Error('the provider issued no JWT')
  return value
}

function nowS(): number {
  return Math.floor(Date.now() / 1000)
}
