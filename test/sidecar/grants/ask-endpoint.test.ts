import { afterAll, describe, expect, test } from 'vitest'
import type { AskNeeds } from '../../../sidecar/grants/ask-endpoint.ts'
import { GATE_LIMITS } from '../../../sidecar/grants/gate.ts'
import type { Endpoint } from '../../../sidecar/trust/endpoint.ts'
import { json, openAsking, startScriptedIssuer } from '../../fixtures/scripted-issuer.ts'
import { createFakeTime } from '../fake-time.ts'

// Whoever asks endpoints, against a real server: what is kept of each, and what is told of it.

const server = await startScriptedIssuer()
afterAll(() => server[Symbol.asyncDispose]())
const never = new AbortController().signal

const urlOf = (name: string | number) => `${server.url}?endpoint=${name}`

function endpoint(name: string | number): Endpoint {
  return {
    ...{ url: urlOf(name), authentication: 'private_key_jwt', clientId: 'workload', timeoutMs: 5_000 },
    ...{ ca: '', insecureLoopback: true, privateAddresses: false },
  }
}

function open(change: Partial<AskNeeds> = {}) {
  const time = createFakeTime()
  const told: string[] = []
  const asker = openAsking(time.now, {
    ...{
      sleep: time.sleep,
      report: (event, facts) => void told.push(`${event} ${facts?.['state'] ?? ''}`.trim()),
    },
    ...change,
  })
  const ask = async (name: string | number) => {
    const question = {
      endpoint: endpoint(name),
      issuer: 'https://idp.test.example',
      form: {},
      unproven: false,
    }
    return (await asker.ask(question, never)).kind
  }
  return { time, told, asker, ask }
}

describe('endpoints are kept apart', () => {
  test('any number of them can be asked in one life, one configuration after the other', async () => {
    let configured = new Set<string>()
    using stack = new DisposableStack()
    const { asker, ask } = open({ configured: () => configured })
    stack.use(asker)
    server.reply(json({}))
    for (let at = 0; at < 100; at++) {
      configured = new Set([urlOf(at)])
      expect(await ask(at)).toBe('answered')
    }
  })

  test('one that is left alone stays so, however many others are asked; it is forgotten when it is configured no more', async () => {
    let configured = new Set(Array.from({ length: 100 }, (_, at) => urlOf(at)))
    using stack = new DisposableStack()
    const { asker, ask } = open({ configured: () => configured })
    stack.use(asker)
    server.reply(json({}, 503))
    for (let at = 0; at < GATE_LIMITS.failures; at++) await ask(0)
    expect(asker.open()).toBe(1)
    server.reply(json({}))
    for (let at = 1; at < 100; at++) expect(await ask(at)).toBe('answered')
    const before = server.asked.length
    expect(await ask(0)).toBe('unavailable')
    expect(server.asked.length).toBe(before)
    configured = new Set([urlOf(1)])
    expect(asker.open()).toBe(0)
  })

  test('while nothing is believed nothing is forgotten', async () => {
    using stack = new DisposableStack()
    const { asker, ask } = open({ configured: () => undefined })
    stack.use(asker)
    server.reply(json({}, 503))
    for (let at = 0; at < GATE_LIMITS.failures; at++) await ask(0)
    await ask(1)
    expect(asker.open()).toBe(1)
  })
})

describe('what is told of trouble', () => {
  test('that the workload cannot say who it is: once in a while and for each endpoint, not for each question', async () => {
    using stack = new DisposableStack()
    const { asker, ask, told, time } = open({ credential: async () => undefined })
    stack.use(asker)
    for (let at = 0; at < 20; at++) expect(await ask(0)).toBe('unavailable')
    expect(told).toEqual(['endpoint_not_asked'])
    await ask(1)
    await time.advance(10_000)
    await ask(0)
    expect(told).toEqual(['endpoint_not_asked', 'endpoint_not_asked', 'endpoint_not_asked'])
  })

  test('that an endpoint fails now and then: the same', async () => {
    using stack = new DisposableStack()
    const { asker, ask, told } = open()
    stack.use(asker)
    for (let at = 0; at < 10; at++) {
      server.reply(json({}, at % 2 === 0 ? 500 : 200))
      await ask(0)
    }
    expect(told).toEqual(['endpoint_failed'])
  })
})
