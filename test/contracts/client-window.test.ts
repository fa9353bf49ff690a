import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readAnswer } from '../../contracts/client/answer.ts'
import { encodeCheck, encodeEnvelope } from '../../contracts/client/frame.ts'
import type { OpenTransport } from '../../contracts/client/transport.ts'
import { createWindow } from '../../contracts/client/window.ts'
import { CheckRequest, CheckStreamRequest } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { allow, allowing, encode, openSidecar, QUESTION } from './scripted-sidecar.ts'

const PATIENT_MS = 20_000

/** A transport over the real connection that answers by itself, as soon as asked. */
function answering(before: () => void): OpenTransport {
  return (_client, events) => ({
    send: (id) => {
      before()
      events.answered(id, encode(allowing()))
    },
    forget: () => undefined,
    destroy: () => undefined,
  })
}

const ONE = { window: 1, queue: 1, read: readAnswer }

test('a permission that is read after the deadline, before any timer could fire, is a denial: timeout', async () => {
  await using sidecar = await openSidecar(allow)
  const stalled = { ms: 0 }
  const stall = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, stalled.ms)
  const settings = { ...ONE, addresses: [sidecar.target], openTransport: answering(stall) }
  const window = createWindow(settings)
  expect(await window.ask(new Uint8Array(), PATIENT_MS, undefined)).toMatchObject({ kind: 'allow' })
  stalled.ms = 60
  expect(await window.ask(new Uint8Array(), 20, undefined)).toMatchObject({ kind: 'deny', cause: 'timeout' })
  window.close()
})

test('a transport that throws is a denial, and the next question gets a new connection', async () => {
  await using sidecar = await openSidecar(allow)
  let broken = true
  const fail = (): void => {
    if (broken) throw new Error('write after end')
  }
  const settings = { ...ONE, addresses: [sidecar.target], openTransport: answering(fail) }
  const window = createWindow(settings)
  const ask = (): Promise<unknown> => window.ask(new Uint8Array(), PATIENT_MS, undefined)
  expect(await ask()).toMatchObject({ kind: 'deny', cause: 'unavailable' })
  broken = false
  expect(await ask()).toMatchObject({ kind: 'allow' })
  window.close()
})

test('what is framed by hand is what the generated codec reads', () => {
  const id = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffff_ffff }))
  const ms = fc.oneof(
    fc.double({ min: 0, max: 2, noNaN: true }),
    fc.double({ min: 1, max: 60_000, noNaN: true }),
  )
  const url = fc.tuple(fc.string(), fc.nat(20_000)).map(([text, length]) => text.padEnd(length, '/'))
  const property = fc.property(id, ms, url, (number, wait, target) => {
    const { action, method } = QUESTION
    const rest = {
      headers: [],
      method,
      url: target,
      action,
      resource: undefined,
      peerCertificate: Buffer.of(1),
    }
    const check = { ...rest, timeoutMs: Math.max(1, Math.floor(wait)) }
    const encoded = CheckRequest.encode({ ...rest, timeoutMs: 0 }).finish()
    expect(CheckRequest.decode(encodeCheck(encoded, wait))).toEqual(check)
    expect(CheckStreamRequest.decode(encodeEnvelope(number, encoded, wait))).toEqual({ id: number, check })
  })
  fc.assert(property, { numRuns: 300 })
})
