import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { threadTimes, usedBetween } from '../bench/meter.ts'
import { SIDECAR_FLAGS } from '../bench/servers.ts'
import { openIssuer } from '../faults/issuer.ts'
import { type SigningKey, signingKey } from '../fixtures/keys.ts'
import { startSidecar } from '../fixtures/sidecar.ts'
import { constant, forge } from '../fixtures/tokens.ts'
import { openGround } from '../process/ground.ts'
import { signFrames } from './frames.ts'
import { type Pumped, pump } from './pump.ts'
import { openSender, type Sender } from './sender.ts'

/**
 * Whether good questions are refused when everything is new, as JSON rows: `rotation`, the issuer rotates without overlap while junk
 * kids flood, each seen once; `cold`, every token is seen for the first time, all of them signed before the first is sent. The real
 * program with its default limits, its issuer on loopback, the generator on the machine's other cores.
 * Usage: node test/load/cold.ts [--seconds 60] [--rate 5000] [--junk 1000] [--alg RS256|ES256] [--only rotation|cold]
 */

const OLD = signingKey('ES256', 'old')
const NEW = signingKey('ES256', 'new')
const TICK_MS = 2
const DRAIN_MS = 5_000
const JUNK_STREAMS = 24
const GOOD_STREAMS = 8
const GOOD_RATE = 200
const ROTATION_S = 30
/** Sent at once at most when the generator was late. */
const CATCH_UP = 200

interface Tally {
  readonly verdicts: Record<string, number>
  readonly latencies: number[]
  notSent: number
}

interface Traffic {
  readonly sender: Sender
  readonly perSecond: number
  readonly token: (serial: number) => string
  readonly tally: Tally
}

const tally = (): Tally => ({ verdicts: {}, latencies: [], notSent: 0 })

/** Sends each kind at its rate for so long; resolves to the milliseconds it took. */
async function send(kinds: readonly Traffic[], forMs: number): Promise<number> {
  const startedAt = performance.now()
  const sent = kinds.map(() => 0)
  for (let elapsed = 0; elapsed < forMs; elapsed = performance.now() - startedAt) {
    for (const [which, { sender, perSecond, token, tally: into }] of kinds.entries()) {
      const due = Math.floor((elapsed / 1000) * perSecond)
      const until = Math.min(due, (sent[which] ?? 0) + CATCH_UP)
      for (let serial = sent[which] ?? 0; serial < until; serial++) {
        const told = (verdict: string, tookMs: number) => {
          into.verdicts[verdict] = (into.verdicts[verdict] ?? 0) + 1
          into.latencies.push(tookMs)
        }
        if (!sender.send(token(serial), told)) {
          into.notSent++
          break
        }
        sent[which] = serial + 1
      }
    }
    await sleep(TICK_MS)
  }
  const tookMs = performance.now() - startedAt
  const end = performance.now() + DRAIN_MS
  while (kinds.some(({ sender }) => sender.waiting() > 0) && performance.now() < end) await sleep(TICK_MS)
  return tookMs
}

interface Told {
  readonly verdicts: Readonly<Record<string, number>>
  readonly latencies: readonly number[] | Float64Array
}

function told({ verdicts, latencies }: Told, tookMs: number) {
  const at = quantiles(latencies)
  const all = Object.values(verdicts).reduce((sum, count) => sum + count, 0)
  // The machine had no time for them; says nothing about tokens or keys.
  const shed = (verdicts['overloaded'] ?? 0) + (verdicts['deadline'] ?? 0)
  const refused = all - (verdicts['allow'] ?? 0) - shed
  return {
    perSecond: Math.round((all / tookMs) * 1000),
    asked: all,
    refused,
    shed,
    verdicts,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    longestMs: at(0.999999),
  }
}

function quantiles(values: Told['latencies']): (share: number) => number {
  const sorted = Float64Array.from(values).sort()
  return (share) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10
}

async function stage(key: SigningKey) {
  await using undo = new AsyncDisposableStack()
  const ground = undo.use(openGround({}))
  const issuer = undo.use(await openIssuer())
  issuer.publish([key])
  const keys = { jwks: { uri: issuer.uri }, allowInsecureLoopback: true }
  const config = ground.config({ issuers: [ground.issuer(keys)] })
  const sidecar = undo.use(await startSidecar({ config, env: { NODE_OPTIONS: SIDECAR_FLAGS.join(' ') } }))
  const kept = undo.move()
  return { issuer, sidecar, [Symbol.asyncDispose]: () => kept.disposeAsync() }
}

async function rotation(junkRate: number): Promise<void> {
  await using world = await stage(OLD)
  const { issuer, sidecar } = world
  using good = await openSender(sidecar.unix, GOOD_STREAMS)
  using junk = await openSender(sidecar.unix, JUNK_STREAMS)
  const [before, after, noise] = [tally(), tally(), tally()]
  const nothing = constant(Buffer.alloc(64))
  let key = OLD
  const kinds: readonly Traffic[] = [
    { sender: good, perSecond: GOOD_RATE, token: () => forge({ key }), tally: before },
    {
      sender: junk,
      perSecond: junkRate,
      token: (serial) => forge({ key: OLD, header: { kid: `junk-${serial}` }, sign: nothing }),
      tally: noise,
    },
  ]
  const fetches = issuer.askedAt.length
  const first = await send(kinds, (ROTATION_S / 2) * 1000)
  issuer.publish([NEW])
  key = NEW
  const rotated = kinds.map((kind) =>
    kind.sender === good
      ? { ...kind, tally: after }
      : { ...kind, token: (serial: number) => kind.token(serial + 1e9) },
  )
  const second = await send(rotated, (ROTATION_S / 2) * 1000)
  const row = {
    what: 'rotation',
    seconds: ROTATION_S,
    goodBefore: told(before, first),
    goodAfter: told(after, second),
    junk: told(noise, first + second),
    fetches: issuer.askedAt.length - fetches,
    rssMB: Math.round(sidecar.rssBytes() / 1e6),
    load: loadavg()[0],
  }
  process.stdout.write(`${JSON.stringify(row)}\n`)
}

async function cold(alg: ColdAlg, rate: number, seconds: number): Promise<void> {
  const key = signingKey(alg)
  const loadBefore = loadavg()[0]
  process.stderr.write(`cold: signing ${rate * seconds} tokens\n`)
  const frames = await signFrames(key, rate * seconds, Math.floor(Date.now() / 1000))
  await using world = await stage(key)
  const { sidecar } = world
  // Signing was a load of its own.
  const loadSigned = loadavg()[0]
  const before = threadTimes(sidecar.pid)
  const own = process.cpuUsage()
  const pumped = await pump(sidecar.unix, frames, { perSecond: rate, streams: GOOD_STREAMS })
  const server = usedBetween(before, threadTimes(sidecar.pid))
  const { user, system } = process.cpuUsage(own)
  const busy = (micros: number) => Math.round((micros / 1000 / pumped.tookMs) * 100) / 100
  const row = {
    what: 'cold',
    alg,
    offered: rate,
    seconds,
    ...told(pumped, pumped.tookMs),
    ...lateness(pumped, frames.count),
    serverBusy: busy(server.ran),
    serverWaited: busy(server.waited),
    generatorBusy: busy(user + system),
    rssMB: Math.round(sidecar.rssBytes() / 1e6),
    loads: [loadBefore, loadSigned, loadavg()[0]],
  }
  process.stdout.write(`${JSON.stringify(row)}\n`)
}

function lateness({ lates, sent }: Pumped, offered: number) {
  const late = quantiles(lates)
  return { notSent: offered - sent, lateP50Ms: late(0.5), lateP99Ms: late(0.99), latestMs: late(0.999999) }
}

const ALGS = ['RS256', 'ES256'] as const
type ColdAlg = (typeof ALGS)[number]

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    rate: { type: 'string', default: '5000' },
    junk: { type: 'string', default: '1000' },
    alg: { type: 'string', default: 'RS256' },
    only: { type: 'string' },
  },
})
const { only } = values
const alg = ALGS.find((one) => one === values.alg)
if (!alg) throw new Error(`--alg ${values.alg}: ${ALGS.join(' or ')}`)
if (only !== 'cold') await rotation(Number(values.junk))
if (only !== 'rotation') await cold(alg, Number(values.rate), Number(values.seconds))
process.exit(0)
