// The whole injected sidecar as a process: identity, feed and answers over their real sockets, against a scripted operator.
import { createPrivateKey } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { Client, credentials, status } from '@grpc/grpc-js'
import { expect, test, vi } from 'vitest'
import {
  AuthorizerService,
  type CheckRequest,
  type CheckResponse,
} from '../../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import {
  SpiffeWorkloadAPIService as Api,
  type X509SVIDResponse,
} from '../../../contracts/gen/standard/spiffe/workload/workload.ts'
import { connect } from '../../conformance/spiffe-endpoint.ts'
import { until } from '../../fixtures/process.ts'
import { question, verdictOf } from '../../fixtures/question.ts'
import { forge } from '../../fixtures/tokens.ts'
import { bundleOf, createAuthority, serverCredential } from './authority.ts'
import { POD, TRUST_DOMAIN, WORKLOAD } from './identity-world.ts'
import { type InjectedSidecar, startInjected } from './injected-world.ts'

vi.setConfig({ testTimeout: 60_000 })

const PATIENCE = { withinMs: 20_000 } as const
const CONTROL = `spiffe://${TRUST_DOMAIN}/portcullis/pod/${POD.uid}`

function ask(client: Client, request: CheckRequest): Promise<CheckResponse> {
  const { path, requestSerialize, responseDeserialize } = AuthorizerService.check
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
      error || !answer ? reject(error) : resolve(answer),
    )
  })
}

async function verdict(sidecar: InjectedSidecar, request: CheckRequest): Promise<string> {
  const client = new Client(`unix:${sidecar.checkSocket}`, credentials.createInsecure())
  return ask(client, request)
    .then(verdictOf)
    .finally(() => client.close())
}

async function svidOf(sidecar: InjectedSidecar): Promise<X509SVIDResponse> {
  using client = connect(sidecar.workloadSocket)
  return await client.stream(Api.fetchX509Svid, {}).next()
}

test('it becomes ready by the operator alone and answers both questions; each socket has one service', async () => {
  await using sidecar = await startInjected()
  await sidecar.ready()
  expect(sidecar.feed.peers).toEqual([CONTROL])
  expect(await verdict(sidecar, question({ token: forge() }))).toBe('allow')
  expect(await verdict(sidecar, question({ token: forge(), stored: { tenant: 'globex' } }))).toBe(
    'tenant_mismatch',
  )
  expect((await svidOf(sidecar)).svids[0]?.spiffeId).toBe(WORKLOAD)
  for (const path of [sidecar.checkSocket, sidecar.workloadSocket])
    expect(statSync(path).mode & 0o777).toBe(0o666)
  expect(statSync(sidecar.anchorsFile).mode & 0o777).toBe(0o444)

  using onCheckSocket = connect(sidecar.checkSocket)
  await expect(onCheckSocket.stream(Api.fetchX509Svid, {}).next()).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
  const onWorkloadSocket = new Client(`unix:${sidecar.workloadSocket}`, credentials.createInsecure())
  await expect(
    ask(onWorkloadSocket, question()).finally(() => onWorkloadSocket.close()),
  ).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  })
  expect(sidecar.feed.nacks).toEqual([])
})

test('004-22: through rotations every few seconds no question fails, and the feed follows on new connections', async () => {
  await using sidecar = await startInjected({ svidTtlMs: 4_000 })
  await sidecar.ready()
  const client = new Client(`unix:${sidecar.checkSocket}`, credentials.createInsecure())
  const verdicts = new Set<string>()
  const request = question({ token: forge() })
  const rotated = () => sidecar.events('svid_issued').filter(({ kind }) => kind === 'control').length >= 4
  const first = (await svidOf(sidecar)).svids[0]?.x509SvidKey
  while (!rotated() || sidecar.feed.peers.length < 3) {
    verdicts.add(verdictOf(await ask(client, request)))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  client.close()
  expect([...verdicts]).toEqual(['allow'])
  expect((await svidOf(sidecar)).svids[0]?.x509SvidKey).not.toEqual(first)
  expect(new Set(sidecar.feed.peers)).toEqual(new Set([CONTROL]))
  expect(sidecar.events('svid_issued').filter(({ bootstrap }) => bootstrap === true)).toHaveLength(1)
})

test('after a rotation of the root a restarted container of an old pod starts by the roots that it kept, and would not without', async () => {
  await using sidecar = await startInjected({ svidTtlMs: 4_000 })
  const { world, feed } = sidecar
  await sidecar.ready()
  const kept = (sequence: number) => () =>
    readFileSync(sidecar.anchorsFile, 'latin1').startsWith(`portcullis trust bundle ${sequence} of `) ||
    undefined
  await until('the first bundle', kept(1), PATIENCE)
  const next = await createAuthority(TRUST_DOMAIN)
  const parts = { trustDomain: TRUST_DOMAIN, signers: [world.signer] }
  const bundleKeys = world.script.bundle.bundleKeys
  world.script.bundle = {
    ...bundleOf({ ...parts, sequence: 2, authorities: [world.authority, next] }),
    bundleKeys,
  }
  await until('both roots', kept(2), PATIENCE)
  world.script.authority = next
  const operator = `spiffe://${TRUST_DOMAIN}/portcullis/operator`
  world.issuer.show(await serverCredential(next, `${operator}/issuer/i-2`))
  feed.show(await serverCredential(next, `${operator}/control/c-2`))
  world.script.bundle = { ...bundleOf({ ...parts, sequence: 3, authorities: [next] }), bundleKeys }
  await until('the new root alone', kept(3), PATIENCE)

  await sidecar.restart()
  await sidecar.ready()
  expect(sidecar.events('anchors_restored')).toMatchObject([{ sequence: 3, roots: 1 }])
  expect(await verdict(sidecar, question({ token: forge() }))).toBe('allow')

  rmSync(sidecar.anchorsFile)
  await sidecar.restart()
  const failed = await until('a failure', () => sidecar.events('svid_failed')[0], PATIENCE)
  expect(failed['problem']).toMatch(/UNAVAILABLE.*(unable to verify|self.signed|issuer certificate)/i)
})

test('no token, no private key and no certificate of its own is in logs, metrics or readiness', async () => {
  await using sidecar = await startInjected({ svidTtlMs: 4_000 })
  await sidecar.ready()
  const { svids } = await svidOf(sidecar)
  const bearer = forge()
  await verdict(sidecar, question({ token: bearer }))
  await until('a renewal', () => (sidecar.events('svid_issued').length >= 4 ? true : undefined), {
    withinMs: 15_000,
  })
  // A failure tells more than a success.
  sidecar.world.script.refuse = { all: { code: status.PERMISSION_DENIED, details: 'gone' } }
  await until('a failure', () => sidecar.events('svid_failed')[0], PATIENCE)
  const pages = await Promise.all(['/readyz', '/metrics', '/livez'].map((path) => sidecar.admin(path)))
  expect(pages[1]?.text).toMatch(/^portcullis_svid_seconds_to_expiry\{kind="control"\} [0-4]$/m)
  expect(pages[1]?.text).toMatch(/^portcullis_workload_api_streams \d+$/m)
  const told = [sidecar.text(), ...pages.map(({ text }) => text)].join('\n')
  const key = createPrivateKey({
    key: svids[0]?.x509SvidKey ?? Buffer.alloc(0),
    format: 'der',
    type: 'pkcs8',
  })
  const scalar = Buffer.from(String(key.export({ format: 'jwk' })['d']), 'base64url')
  const podToken = sidecar.world.issuer.asked[0]?.token ?? ''
  const secrets = [
    podToken,
    podToken.split('.')[1] ?? '',
    bearer,
    bearer.split('.')[2] ?? '',
    ...(['base64', 'base64url', 'hex'] as const).map((encoding) => scalar.toString(encoding)),
    ...svids.map(({ x509Svid }) => x509Svid.toString('base64').slice(0, 64)),
    'PRIVATE KEY',
    'BEGIN CERTIFICATE',
  ]
  expect(secrets.every(({ length }) => length > 8)).toBe(true)
  expect(secrets.filter((one) => told.includes(one))).toEqual([])
  expect(told).toContain('PERMISSION_DENIED: gone')
})

test('before the operator can be reached it lives, is not ready and says why, and both sockets answer with a refusal', async () => {
  await using sidecar = await startInjected({ prepare: (world) => world.issuer.down() })
  await until('a failure', () => sidecar.events('svid_failed')[0], PATIENCE)
  expect((await sidecar.admin('/livez')).status).toBe(200)
  const { status: code, text } = await sidecar.admin('/readyz')
  expect(code).toBe(503)
  expect(JSON.parse(text).causes.slice(0, 2)).toEqual([
    expect.stringMatching(/^identity of the sidecar: UNAVAILABLE: .*ECONNREFUSED/),
    expect.stringMatching(/^identity of the workload: /),
  ])
  expect(await verdict(sidecar, question({ token: forge() }))).toBe('not_ready')
  await expect(svidOf(sidecar)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  await sidecar.world.issuer.up()
  await sidecar.ready()
})

test('with the issuer gone until its identities lapse it goes on answering what the lease allows, and says what is wrong', async () => {
  await using sidecar = await startInjected({ svidTtlMs: 4_000 })
  await sidecar.ready()
  await sidecar.world.issuer.down()
  await until('the lapse', () => sidecar.events('svid_lapsed')[0], PATIENCE)
  expect(await verdict(sidecar, question({ token: forge() }))).toBe('allow')
  await expect(svidOf(sidecar)).rejects.toMatchObject({ code: status.UNAVAILABLE })
  const { status: code, text } = await sidecar.admin('/readyz')
  expect([code, JSON.parse(text).remarks]).toEqual([
    200,
    expect.arrayContaining([
      expect.stringMatching(/^identity of the sidecar: /),
      expect.stringMatching(/^identity of the workload: /),
    ]),
  ])
  await sidecar.world.issuer.up()
  await until('another', async () => (await svidOf(sidecar).catch(() => undefined)) && true, PATIENCE)
})

test('SIGTERM ends it in order: exit 0, both sockets gone, the stream ended', async () => {
  await using sidecar = await startInjected()
  await sidecar.ready()
  using client = connect(sidecar.workloadSocket)
  const stream = client.stream(Api.fetchX509Svid, {})
  await stream.next()
  const exit = await sidecar.stop()
  expect(exit).toEqual({ code: 0, signal: undefined })
  await expect(stream.next()).rejects.toMatchObject({ code: status.UNAVAILABLE })
  expect([sidecar.checkSocket, sidecar.workloadSocket].map((path) => existsSync(path))).toEqual([
    false,
    false,
  ])
  expect(sidecar.events('stopped')).toHaveLength(1)
})

test('what is missing is told at once, with exit code 2', async () => {
  await using sidecar = await startInjected({ args: ['--injected', '--feed', 'x'], env: { POD_UID: '' } })
  expect(await sidecar.exited).toEqual({ code: 2, signal: undefined })
  expect(sidecar.text()).toMatch(/^--injected: 8 problem\(s\)$/m)
  expect(sidecar.text()).toMatch(/^ {2}POD_UID: required/m)
})

test('--check says what was told and looks at the token, without asking anybody', async () => {
  await using sidecar = await startInjected({ more: ['--check'] })
  expect(await sidecar.exited).toEqual({ code: 0, signal: undefined })
  expect(sidecar.text()).toMatch(
    /^pod shop\/pod-1 .*\n(.*\n)*token .*: for portcullis\.dev\/cluster\.example\nok$/,
  )
  expect(sidecar.world.issuer.asked).toEqual([])
})

test('--check without a token says where it should be, with exit code 2', async () => {
  await using sidecar = await startInjected({ more: ['--check'], env: { PORTCULLIS_TEST_ROOT: '/nowhere' } })
  expect(await sidecar.exited).toEqual({ code: 2, signal: undefined })
  expect(sidecar.text()).toMatch(
    /REFUSED: \/nowhere\/var\/run\/secrets\/portcullis\/token cannot be read \(ENOENT\)/,
  )
})
