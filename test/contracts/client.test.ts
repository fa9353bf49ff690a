import { status as grpc } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { createAuthorizerClient, type Decision, isAllowance } from '../../contracts/client.ts'
import { Reason } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import {
  afterWarming,
  allow,
  allowing,
  deny,
  denying,
  encode,
  openSidecar,
  PRINCIPAL,
  QUESTION,
  type Script,
  silence,
} from './scripted-sidecar.ts'

const TRANSPORTS = ['stream', 'unary'] as const
/** For answers that do come: long enough for a busy machine, and never waited for. */
const PATIENT_MS = 20_000

async function ask(
  script: Script,
  options: { transport: 'stream' | 'unary'; deadlineMs?: number },
): Promise<Decision> {
  const { transport, deadlineMs = PATIENT_MS } = options
  await using sidecar = await openSidecar(afterWarming(script))
  await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
  await client.check({ ...QUESTION, url: '/warm' })
  return await client.check(QUESTION, { deadlineMs })
}

describe.each(TRANSPORTS)('over %s', (transport) => {
  test('a complete permission is an allowance with its principal', async () => {
    const decision = await ask(allow, { transport })
    expect(decision).toEqual({
      kind: 'allow',
      principal: PRINCIPAL,
      ruleIds: ['floor'],
      headers: [],
      decisionId: 'd-1',
      policyRevision: 'r-1',
      trustGeneration: 7,
    })
    expect(isAllowance(decision)).toBe(true)
  })

  test('loopback TCP works like the socket', async () => {
    await using sidecar = await openSidecar(allow, '127.0.0.1:0')
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
  })

  test('localhost is tried as 127.0.0.1 and as ::1, without looking it up', async () => {
    await using sidecar = await openSidecar(allow, '[::1]:0')
    const target = sidecar.target.replace('[::1]', 'localhost')
    await using client = createAuthorizerClient({ target, transport, deadlineMs: PATIENT_MS })
    expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
  })

  test('a denial of the sidecar keeps its client part verbatim and its reason in lower case', async () => {
    const decision = await ask(({ answer }) => answer(encode(denying(401, Reason.REASON_EXPIRED))), {
      transport,
    })
    expect(decision).toEqual({
      kind: 'deny',
      cause: 'sidecar',
      client: {
        status: 401,
        headers: [
          { name: 'WWW-Authenticate', value: 'Bearer error="invalid_token"' },
          { name: 'WWW-Authenticate', value: 'DPoP algs="ES256"' },
        ],
        text: 'refused 401',
        grpcStatus: 7,
      },
      diagnostic: { reason: 'expired', ruleIds: ['app.role'] },
      decisionId: 'd-2',
      policyRevision: 'r-1',
      trustGeneration: 7,
    })
  })

  test('every question arrives as asked, with the time its caller still waits', async () => {
    await using sidecar = await openSidecar(allow)
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    const attributes = { amount: 12.5, tags: ['a', null, true], nested: { deep: 'é' }, absent: undefined }
    const headers = [
      { name: 'authorization', value: 'Bearer a' },
      { name: 'authorization', value: new Uint8Array([0x42, 0xff]) },
    ]
    const stored = { ...QUESTION.resource.stored, attributes }
    const question = {
      ...QUESTION,
      headers,
      resource: { stored, request: { limit: 3 } },
      peerCertificate: Buffer.of(48),
    }
    await client.check(question, { deadlineMs: 9000 })
    const [arrived] = sidecar.questions
    expect(arrived).toMatchObject({ method: 'GET', url: '/invoices/1', action: 'invoice:read' })
    expect(arrived?.headers.map(({ name, value }) => [name, value.toString('latin1')])).toEqual([
      ['authorization', 'Bearer a'],
      ['authorization', 'B\xff'],
    ])
    const { absent: _, ...kept } = attributes
    expect(arrived?.resource).toEqual({ stored: { ...stored, attributes: kept }, request: { limit: 3 } })
    expect([...(arrived?.peerCertificate ?? [])]).toEqual([48])
    expect(arrived?.timeoutMs).toBeGreaterThan(0)
    expect(arrived?.timeoutMs).toBeLessThanOrEqual(9000)
  })

  test('silence until the deadline is a denial: timeout', async () => {
    expect(await ask(silence, { transport, deadlineMs: 40 })).toMatchObject({
      kind: 'deny',
      cause: 'timeout',
      client: {
        status: 503,
        headers: [{ name: 'retry-after', value: '1' }],
        text: 'Temporarily unavailable.',
      },
      diagnostic: { reason: 'deadline' },
    })
  })

  test('a permission that comes after the deadline is a denial: timeout', async () => {
    const late: Script = ({ answer }) => void setTimeout(() => answer(encode(allowing())), 120)
    expect(await ask(late, { transport, deadlineMs: 40 })).toMatchObject({ kind: 'deny', cause: 'timeout' })
  })

  test('a permission that arrived in time but was read late, because the process was busy, is a denial: timeout', async () => {
    const stall: Script = ({ question, answer }) => {
      answer(encode(allowing()))
      // The server shares this process: its answer is on the wire, and nobody reads it before the deadline is over.
      if (question.url === '/stall')
        setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300))
    }
    await using sidecar = await openSidecar(stall)
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
    const decision = await client.check({ ...QUESTION, url: '/stall' }, { deadlineMs: 150 })
    expect(decision).toMatchObject({ kind: 'deny', cause: 'timeout' })
  })

  test.each([
    ['UNIMPLEMENTED', grpc.UNIMPLEMENTED, 'invalid_answer'],
    ['INVALID_ARGUMENT', grpc.INVALID_ARGUMENT, 'invalid_answer'],
    ['PERMISSION_DENIED', grpc.PERMISSION_DENIED, 'invalid_answer'],
    ['INTERNAL', grpc.INTERNAL, 'unavailable'],
    ['UNAVAILABLE', grpc.UNAVAILABLE, 'unavailable'],
    ['RESOURCE_EXHAUSTED', grpc.RESOURCE_EXHAUSTED, 'overloaded'],
    ['DEADLINE_EXCEEDED', grpc.DEADLINE_EXCEEDED, 'timeout'],
  ])('gRPC status %s is a denial that does not repeat the server', async (name, code, cause) => {
    const decision = await ask(({ fail }) => fail(code), { transport })
    expect(decision).toMatchObject({ kind: 'deny', cause, client: { status: 503 } })
    expect(JSON.stringify(decision)).toContain(name)
    expect(JSON.stringify(decision)).not.toContain('secret-token')
  })

  test('an aborted signal ends the wait with a denial: cancelled', async () => {
    await using sidecar = await openSidecar(silence)
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    const abort = new AbortController()
    const pending = client.check(QUESTION, { signal: abort.signal })
    setTimeout(() => abort.abort(), 20)
    expect(await pending).toMatchObject({ kind: 'deny', cause: 'cancelled' })
    expect(await client.check(QUESTION, { signal: AbortSignal.abort() })).toMatchObject({
      cause: 'cancelled',
    })
  })

  test('a thousand questions at once pass through a window of 64, each with its own answer', async () => {
    const echo: Script = ({ question, answer }) => {
      const response = { ...allowing(), decisionId: question.url }
      setTimeout(() => answer(encode(response)), 0)
    }
    await using sidecar = await openSidecar(echo)
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    const asked = Array.from({ length: 1000 }, (_, number) =>
      client.check({ ...QUESTION, url: `/n/${number}` }),
    )
    const decisions = await Promise.all(asked)
    expect(decisions.map(({ decisionId }) => decisionId)).toEqual(
      decisions.map((_, number) => `/n/${number}`),
    )
    expect(decisions.every(isAllowance)).toBe(true)
    expect(sidecar.peak()).toBeLessThanOrEqual(64)
  })

  test('a closed client denies what is unanswered and whatever comes later', async () => {
    await using sidecar = await openSidecar(silence)
    const client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    const pending = client.check(QUESTION)
    setTimeout(() => client.close(), 30)
    expect(await pending).toMatchObject({ kind: 'deny', cause: 'unavailable' })
    expect(await client.check(QUESTION)).toMatchObject({ kind: 'deny', cause: 'unavailable' })
  })

  test('a caller who mutates the question after asking changes nothing', async () => {
    await using sidecar = await openSidecar(allow)
    await using client = createAuthorizerClient({ target: sidecar.target, transport, deadlineMs: PATIENT_MS })
    const question = structuredClone(QUESTION)
    const pending = client.check(question)
    question.action = 'invoice:refund'
    await pending
    expect(sidecar.questions.map(({ action }) => action)).toEqual(['invoice:read'])
  })
})

test('nothing is opened before the first check', async () => {
  await using sidecar = await openSidecar(allow)
  await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(sidecar.streams()).toBe(0)
  await client.check(QUESTION)
  expect(sidecar.streams()).toBe(1)
})

test('a proxy named in the environment never sees a question', async () => {
  const names = ['grpc_proxy', 'http_proxy', 'https_proxy', 'HTTP_PROXY']
  for (const name of names) process.env[name] = 'http://127.0.0.1:9'
  try {
    await using sidecar = await openSidecar(allow, '127.0.0.1:0')
    await using client = createAuthorizerClient({ target: sidecar.target, deadlineMs: PATIENT_MS })
    expect(await client.check(QUESTION)).toMatchObject({ kind: 'allow' })
  } finally {
    for (const name of names) delete process.env[name]
  }
})

test('answers and their parts are frozen', async () => {
  for (const script of [allow, deny]) {
    const decision = await ask(script, { transport: 'stream' })
    const parts = [decision, ...Object.values(decision).filter((part) => typeof part === 'object')]
    expect(parts.every(Object.isFrozen)).toBe(true)
  }
})

test('only the original of an allowance is one: not a copy, not a look-alike, not what JSON gives back', async () => {
  const decision = await ask(allow, { transport: 'stream' })
  expect(isAllowance(decision)).toBe(true)
  const forgeries = [
    { ...decision },
    structuredClone(decision),
    Object.create(decision),
    JSON.parse(JSON.stringify(decision)),
  ]
  for (const forged of [...forgeries, { kind: 'allow' }, true, null, undefined])
    expect(isAllowance(forged)).toBe(false)
})
