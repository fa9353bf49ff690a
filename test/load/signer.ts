import { parentPort, workerData } from 'node:worker_threads'
import { AuthorizerService } from '../../contracts/gen/portcullis/authorizer/v1/authorizer.ts'
import { claimsFor, framed, subjectOf } from '../bench/workload.ts'
import type { SigningKey } from '../fixtures/keys.ts'
import { question } from '../fixtures/question.ts'
import { forge } from '../fixtures/tokens.ts'

// One thread of test/load/frames.ts: signs the tokens of some serials and encodes the questions that bring them.

/** `to` is not included. */
export interface Share {
  readonly key: SigningKey
  readonly from: number
  readonly to: number
  /** Seconds since the epoch. */
  readonly at: number
}

/** Frames one after the other; `ends[n]` is where the nth ends. */
export interface Signed {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly ends: Uint32Array<ArrayBuffer>
}

/** A later question is longer by digits of its serial, here and there. */
const SPARE_BYTES = 128

function sign({ key, from, to, at }: Share): Signed {
  const one = frame(key, from, at).length + SPARE_BYTES
  const bytes = new Uint8Array((to - from) * one)
  const ends = new Uint32Array(to - from)
  let end = 0
  for (let serial = from; serial < to; serial++) {
    const next = frame(key, serial, at)
    bytes.set(next, end)
    end += next.length
    ends[serial - from] = end
  }
  return { bytes, ends }
}

// Each of a subject of its own, who asks for what is hers.
function frame(key: SigningKey, serial: number, at: number): Buffer {
  const token = forge({ key, at, claims: claimsFor(serial, at) })
  const check = question({ token, stored: { owner: subjectOf(serial) } })
  return framed(AuthorizerService.checkStream.requestSerialize({ id: serial + 1, check }))
}

const signed = sign(workerData as Share)
parentPort?.postMessage(signed, [signed.bytes.buffer, signed.ends.buffer])
