import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createAuthorizerClient, type Denial, isAllowance } from '../../contracts/client.ts'
import type { Config } from '../config.ts'
import { resourceOf } from '../control/resources.ts'
import { faultOf } from '../kube/answer.ts'
import { apply } from '../kube/apply.ts'
import type { Resource } from '../kube/resource.ts'
import { SECRETS } from '../kube/resources.ts'
import { type KubePorts, openTransport, type Transport } from '../kube/transport.ts'
import { Fault } from '../ports.ts'

// What `helm test` runs (charts/portcullis/templates/tests): "prepare" makes a key in memory and two short-lived tokens, "ask" is an
// application with an injected sidecar that must get an allow for one and a denial for the other.

const ISSUER = 'https://helm-test.portcullis.dev'
const NAME = 'helm-test'
const TOKENS = 'helm-test-tokens'
const TOKEN_FILE = '/var/run/helm-test/tokens.json'
const TOKEN_S = 600
const ACTION = 'greeting:read'
const PATIENCE_MS = 120_000
const AGAIN_MS = 500

export async function helmTest(config: Config, ports: KubePorts, signal: AbortSignal): Promise<void> {
  if (config.step === 'prepare') return prepare(config, ports, signal)
  if (config.step === 'ask') return ask(config.target, ports, signal)
  throw new Fault('internal', 'helm-test: the second argument must be prepare or ask')
}

async function prepare(config: Config, ports: KubePorts, signal: AbortSignal): Promise<void> {
  await using transport = await openTransport(config.kubeconfig, ports)
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const kid = randomUUID()
  const jwks = { keys: [{ ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }] }
  const spec = {
    issuer: ISSUER,
    jwks: { inline: JSON.stringify(jwks) },
    algorithms: ['ES256'],
    tenant: { type: 'Fixed', fixed: NAME },
  }
  const mint = (scope: string) => tokenOf({ privateKey, kid, scope, atS: Math.floor(ports.now() / 1000) })
  const tokens = JSON.stringify({ good: mint(ACTION), bad: mint('nothing') })
  await applied(
    transport,
    { resource: resourceOf('TokenIssuer'), name: NAME, fields: { spec } },
    config.namespace,
    signal,
  )
  const data = { 'tokens.json': Buffer.from(tokens).toString('base64') }
  await applied(
    transport,
    { resource: SECRETS, name: TOKENS, fields: { type: 'Opaque', data } },
    config.namespace,
    signal,
  )
  ports.report('prepared', { issuer: ISSUER })
}

interface Wanted {
  readonly resource: Resource
  readonly name: string
  readonly fields: Readonly<Record<string, unknown>>
}

async function applied(
  transport: Transport,
  { resource, name, fields }: Wanted,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const metadata = { name, namespace }
  const done = await apply(transport, { resource, metadata, fields, manager: NAME, force: true }, signal)
  if (!done.ok) throw faultOf(done.refused, `apply ${resource.kind} ${name}`)
}

/** An access token as RFC 9068 has it. */
function tokenOf({
  privateKey,
  kid,
  scope,
  atS,
}: {
  readonly privateKey: KeyObject
  readonly kid: string
  readonly scope: string
  readonly atS: number
}): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {
    iss: ISSUER,
    aud: ISSUER,
    sub: 'tester',
    client_id: NAME,
    jti: randomUUID(),
    iat: atS,
    exp: atS + TOKEN_S,
    scope,
  }
  const signed = `${part({ alg: 'ES256', typ: 'at+jwt', kid })}.${part(claims)}`
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

async function ask(target: string, ports: KubePorts, signal: AbortSignal): Promise<void> {
  const { good, bad } = JSON.parse(await readFile(TOKEN_FILE, 'utf8')) as {
    readonly good: string
    readonly bad: string
  }
  await using client = createAuthorizerClient({ target, deadlineMs: 2_000 })
  const stored = { type: 'greeting', id: '1', tenant: NAME, owner: 'tester' }
  const check = (token: string) =>
    client.check({
      headers: [{ name: 'authorization', value: `Bearer ${token}` }],
      method: 'GET',
      url: 'https://helm-test.portcullis.dev/greetings/1',
      action: ACTION,
      resource: { stored },
    })
  const until = ports.monotonic() + PATIENCE_MS
  let allowed = await check(good)
  // The keys that "prepare" has published are on their way.
  while (!isAllowance(allowed) && ports.monotonic() < until) {
    await ports.sleep(AGAIN_MS, signal)
    allowed = await check(good)
  }
  if (!isAllowance(allowed)) throw new Fault('internal', `the good token was denied: ${reasonOf(allowed)}`)
  ports.report('allowed', { action: ACTION, subject: allowed.principal.subject })
  const denied = await check(bad)
  if (isAllowance(denied)) throw new Fault('internal', 'the token without the scope was allowed')
  if (reasonOf(denied) !== 'insufficient_scope') {
    throw new Fault(
      'internal',
      `the token without the scope was denied for another reason: ${reasonOf(denied)}`,
    )
  }
  ports.report('denied', { action: ACTION, reason: reasonOf(denied) })
}

function reasonOf({ diagnostic }: Denial): string {
  return diagnostic.reason
}
