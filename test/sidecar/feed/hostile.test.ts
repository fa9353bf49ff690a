// Whatever an operator says, in whatever order and however badly formed: the sidecar goes on, and believes only what is signed and newer.
import { EventEmitter } from 'node:events'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type SubscribeRequest, SubscribeResponse } from '../../../contracts/gen/portcullis/feed/v1/feed.ts'
import { createOperatorFeed } from '../../../sidecar/feed/operator.ts'
import type { FeedStream } from '../../../sidecar/feed/subscribe.ts'
import { createFakeTime } from '../fake-time.ts'
import { blobsOf, INVOICES, policyMessage } from '../trust/beliefs.ts'
import { fedSnapshot, openFed, SIGNER } from '../trust/fed-world.ts'
import { AT } from '../trust/revocation-world.ts'

type Response = NonNullable<SubscribeResponse['response']>

const number = fc.oneof(fc.nat({ max: 12 }), fc.constant(Number.MAX_SAFE_INTEGER))
const small = fc.oneof(fc.nat({ max: 12 }), fc.constant(0xffff_ffff))
const word = fc.oneof(fc.constantFrom('', 'a', 'b', 'x'.repeat(600)), fc.string({ maxLength: 8 }))
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array))
const signed = SIGNER.sign(policyMessage(INVOICES))
const someFile = fc.record({
  path: word,
  sha256: fc.oneof(bytes, fc.constant(Buffer.alloc(32, 1))),
  size: number,
})
const policy = fc.oneof(
  fc.constant(undefined),
  fc.constant(signed),
  fc.constant(policyMessage(INVOICES)),
  fc.record({
    revision: word,
    files: fc.array(someFile, { maxLength: 4 }),
    signature: fc.option(fc.record({ keyId: fc.oneof(word, fc.constant(SIGNER.key.id)), value: bytes }), {
      nil: undefined,
    }),
  }),
)
const requirements = fc.record({
  senderConstraints: fc.array(fc.constantFrom(0, 1, 2, 9)),
  introspect: fc.boolean(),
  sharedReplay: fc.boolean(),
  acrValues: fc.array(word, { maxLength: 20 }),
  maxAuthAgeS: small,
  maxTokenAgeS: small,
  clientKind: fc.constantFrom(0, 1, 2, 9),
})
const profile = fc.oneof(
  fc.constant(undefined),
  fc.constant(fedSnapshot(1, []).profile),
  fc.record({
    audience: word,
    exclusiveAudience: fc.boolean(),
    maxTokenLifetimeS: small,
    leases: fc.option(fc.record({ standardMs: small, strictMs: small, readDegradedMs: small }), {
      nil: undefined,
    }),
    routes: fc.array(
      fc.record({
        actions: fc.array(word),
        staleness: fc.constantFrom(0, 1, 2, 3),
        requirements: fc.option(requirements, { nil: undefined }),
      }),
      { maxLength: 3 },
    ),
    tokens: fc.option(
      fc.record({
        externalBaseUrl: word,
        strippedPrefix: word,
        trustedHops: fc.array(word, { maxLength: 20 }),
        certificateHeader: fc.constantFrom(0, 1, 2, 9),
        ownId: word,
        deniedAudiences: fc.array(word),
        firstPartyScopes: fc.array(word),
        requirements: fc.option(requirements, { nil: undefined }),
      }),
      { nil: undefined },
    ),
  }),
)
const endpoint = fc.record({
  url: fc.oneof(word, fc.constant('https://idp.test.example/ask')),
  authentication: fc.constantFrom(0, 1, 2, 9),
  clientId: word,
  timeoutMs: small,
  ca: word,
  insecureLoopback: fc.boolean(),
  privateAddresses: fc.boolean(),
})
const issuer = fc.record({
  issuer: word,
  algorithms: fc.array(fc.constantFrom('RS256', 'none', 'HS256', '')),
  skewS: small,
  tenant: fc.constantFrom(undefined, { $case: 'fixedTenant' as const, fixedTenant: 'acme' }),
  keys: fc.option(fc.record({ jwks: bytes, notAfterMs: number, refreshable: fc.boolean() }), {
    nil: undefined,
  }),
  revokedKids: fc.array(word, { maxLength: 70 }),
  source: word,
  legacyTypUntilMs: number,
  firstPartyClients: fc.array(word),
  introspection: fc.option(
    fc.record({ endpoint: fc.option(endpoint, { nil: undefined }), opaque: fc.boolean(), cacheMs: small }),
    { nil: undefined },
  ),
  exchange: fc.option(fc.record({ endpoint: fc.option(endpoint, { nil: undefined }) }), { nil: undefined }),
})
const revocation = fc.record({
  id: word,
  issuer: word,
  subject: fc.oneof(
    fc.constant(undefined),
    word.map((sub) => ({ $case: 'sub' as const, sub })),
    fc.boolean().map((everything) => ({ $case: 'everything' as const, everything })),
  ),
  issuedBeforeMs: number,
  expiresAtMs: number,
  source: word,
})
const issuers = fc.array(issuer, { maxLength: 3 })
const response: fc.Arbitrary<Response | undefined> = fc.oneof(
  fc.constant(undefined),
  fc
    .record({ generation: number, profile, issuers, policy, withheld: word })
    .map((snapshot): Response => ({ $case: 'snapshot', snapshot: snapshot as never })),
  fc
    .record({
      baseGeneration: number,
      generation: number,
      issuers,
      removedIssuers: fc.array(word),
      profile,
      policy,
    })
    .map((delta): Response => ({ $case: 'delta', delta: delta as never })),
  fc
    .record({
      head: number,
      base: number,
      entries: fc.array(revocation, { maxLength: 3 }),
      removed: fc.array(word, { maxLength: 3 }),
    })
    .map((revocations): Response => ({ $case: 'revocations', revocations })),
  fc
    .record({ terms: fc.array(fc.record({ issuer: word, notAfterMs: number }), { maxLength: 3 }) })
    .map((keyFreshness): Response => ({ $case: 'keyFreshness', keyFreshness })),
  fc
    .record({ revocationHead: number, atMs: number })
    .map((heartbeat): Response => ({ $case: 'heartbeat', heartbeat })),
  fc
    .record({ sha256: bytes, offset: number, size: number, content: bytes })
    .map((chunk): Response => ({ $case: 'chunk', chunk })),
  fc
    .record({ question: number, fetched: fc.boolean() })
    .map((keysChecked): Response => ({ $case: 'keysChecked', keysChecked })),
  fc.constant<Response>({ $case: 'recall', recall: {} }),
  fc
    .record({
      sequence: number,
      trustDomain: word,
      x509Roots: fc.array(bytes, { maxLength: 2 }),
      jwtKeys: bytes,
      bundleKeys: fc.array(fc.record({ id: word, spki: bytes }), { maxLength: 3 }),
      refreshHintS: small,
    })
    .map((trustBundle): Response => ({ $case: 'trustBundle', trustBundle })),
)
const said = fc.record({ nonce: fc.oneof(fc.constantFrom('', 'n'), fc.uuid()), response })

function fakeStream() {
  const emitter = new EventEmitter()
  const requests: SubscribeRequest[] = []
  const stream = Object.assign(emitter, {
    write: (request: SubscribeRequest) => requests.push(request),
    end: () => undefined,
    cancel: () => undefined,
  }) as unknown as FeedStream
  return { stream, requests, say: (message: SubscribeResponse) => emitter.emit('data', message) }
}

test('nothing that is said breaks it, lowers what it holds, or makes it believe a policy that nobody signed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(said, { maxLength: 25 }), async (messages) => {
      const time = createFakeTime()
      const fed = openFed({ monotonic: time.now, wall: () => AT + time.now() })
      await fed.believe.install(fedSnapshot(3, [{}]), blobsOf(INVOICES))
      const policyBefore = fed.store.installed()?.policyDigest
      const streams: ReturnType<typeof fakeStream>[] = []
      const faults: unknown[] = []
      const life = new AbortController()
      const feed = createOperatorFeed({
        believe: fed.believe,
        signers: fed.signers,
        trust: () => ({ ok: true }),
        open: async () => {
          const one = fakeStream()
          streams.push(one)
          return one.stream
        },
        version: '0',
        now: time.now,
        sleep: time.sleep,
        random: () => 0,
        report: (_event, facts) => {
          if (`${facts?.['problem']}`.includes('broke')) faults.push(facts)
        },
      })
      const running = feed.run(life.signal).catch(() => undefined)
      await time.advance(0)
      let before = fed.believe.held()
      for (const message of messages) {
        // Over the wire and back: what is said is what a message can carry.
        const heard = SubscribeResponse.decode(
          SubscribeResponse.encode(message as SubscribeResponse).finish(),
        )
        streams.at(-1)?.say(heard)
        await time.advance(0)
        const now = fed.believe.held()
        expect(now.generation).toBeGreaterThanOrEqual(before.generation)
        expect(now.revocationHead).toBeGreaterThanOrEqual(before.revocationHead)
        before = now
        const digest = fed.store.installed()?.policyDigest
        if (digest) expect(digest).toEqual(policyBefore)
      }
      life.abort(new Error('stopped'))
      await running
      await time.advance(31_000)
      expect(faults).toEqual([])
      for (const { requests } of streams) {
        const answered = requests.flatMap(({ request }) =>
          request?.$case === 'ack'
            ? [request.ack.nonce]
            : request?.$case === 'nack'
              ? [request.nack.nonce]
              : [],
        )
        expect(new Set(answered).size).toBe(answered.length)
        expect(requests[0]?.request?.$case).toBe('hello')
      }
    }),
    { numRuns: 150 },
  )
}, 60_000)
