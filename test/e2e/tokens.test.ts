import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { CLIENT_KEY, forgeProof, jktOf, type ProofForge } from '../fixtures/proofs.ts'
import { openInstalled } from './installed.ts'
import { type AppPod, askAll, askProven, podsOf, untilAll } from './pods.ts'
import { accessPolicy, deployment } from './shop.ts'
import { createTable } from './table.ts'
import { AUDIENCE, NAMESPACE, type World } from './world.ts'

// Tokens in depth on a real cluster: what is asked of them is said in an AccessPolicy, and three replicas that share no store agree.

const reason = notRun('e2e', 'tokens.test.ts', clusterUnavailable())
const table = createTable('Tokens')
// As the sample application states it of every request.
const SEEN_BY_CALLERS = 'https://api.demo.example'

let world: World
let pods: readonly AppPod[]

describe.skipIf(reason)('tokens on the cluster', { timeout: 300_000 }, () => {
  beforeAll(async () => {
    world = await openInstalled('e2e-tokens')
    await world.apply(
      accessPolicy(AUDIENCE, [
        `tokens: { externalBaseURL: "${SEEN_BY_CALLERS}", requirements: { senderConstraints: [DPoP] } }`,
      ]),
    )
    await world.apply(deployment(world.images.sample.pinned))
    await world.kubectl(['rollout', 'status', 'deploy/shop', '-n', NAMESPACE, '--timeout', '240s'])
    pods = await podsOf(world, 'shop')
  }, 900_000)
  afterAll(async () => {
    table.print()
    await world?.[Symbol.asyncDispose]()
  }, 120_000)

  test('a route that asks for DPoP takes no bearer token', async () => {
    const took = await untilAll(pods, { token: await world.idp.mint() }, 'cnf_required')
    table.row('bearer token where DPoP is asked for', took, 'cnf_required on 3/3')
  })

  test('a bound token without its key is of no use', async () => {
    const token = await bound()
    expect(await askAll(pods, { token })).toEqual(Array(3).fill('cnf_scheme_mismatch'))
  })

  test('each replica takes only proofs with a nonce of its own, so that a captured request passes nowhere', async () => {
    const [first, ...others] = pods
    if (!first) throw new Error('no pod')
    const token = await bound()
    const challenged = await askProven(first, { token, proof: proofFor(token) })
    expect(challenged).toEqual({ outcome: 'dpop_nonce_required', nonce: expect.stringMatching(/./) })
    const proof = proofFor(token, { claims: { nonce: challenged.nonce } })
    expect((await askProven(first, { token, proof })).outcome).toBe('allow')
    expect((await askProven(first, { token, proof })).outcome).toBe('dpop_replay')
    const elsewhere = await Promise.all(others.map((pod) => askProven(pod, { token, proof })))
    expect(elsewhere.map(({ outcome }) => outcome)).toEqual(others.map(() => 'dpop_nonce_invalid'))
    table.row('a DPoP request, captured and sent to 3 replicas', undefined, 'refused on 3/3')
  })
})

function bound(): Promise<string> {
  return world.idp.mint({ cnf: { jkt: jktOf(CLIENT_KEY) } })
}

function proofFor(token: string, wish: ProofForge = {}): string {
  const at = Math.floor(Date.now() / 1000)
  return forgeProof({ token, url: `${SEEN_BY_CALLERS}/`, at, jti: crypto.randomUUID(), ...wish })
}
