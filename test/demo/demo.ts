import type { Idp } from '../fixtures/idp.ts'
import { leaveRunning } from './keep.ts'
import { runLoad } from './load.ts'
import { type Cast, type Outcome, type Row, type Scene, TIMES } from './scene.ts'
import { crash } from './scene-crash.ts'
import { keys } from './scene-keys.ts'
import { policy } from './scene-policy.ts'
import { rules } from './scene-rules.ts'
import { sessions } from './scene-sessions.ts'
import { thief } from './scene-thief.ts'
import { tokens } from './scene-tokens.ts'
import { openStage, type Stage } from './stage.ts'
import { createTable } from './table.ts'

// The main job, told as a story: a real provider, the sidecar and a sample application as processes.
// Ends with 0 only if every row came out as expected. KEEP=1 leaves it running.

const STORY: readonly Scene[] = [rules, tokens, thief, sessions, keys, policy, crash]
const WARM_UP_REQUESTS = 2_000
const WARM_UP_MS = 3_000
const KEEP = process.env['KEEP'] === '1'

const table = createTable(
  (text) => void process.stdout.write(text),
  process.stdout.isTTY && !process.env['NO_COLOR'],
)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`\nThe demo broke: ${error instanceof Error ? error.stack : String(error)}\n`)
  return 1
})

async function main(): Promise<number> {
  const started = performance.now()
  await using stage = await openStage({ tokenTtlS: KEEP ? 3600 : 300 })
  table.note(
    `provider ${stage.idp.issuer}   sidecar pid ${stage.sidecar.pid}   application port ${stage.app.port}`,
  )
  const cast = await castOf(stage.idp)
  await warmUp(stage, cast)
  const failed: string[] = []
  let played = 0
  for (const scene of STORY) {
    table.scene(scene.title)
    for (const row of scene.rows) {
      played++
      if (!(await show(row, stage, cast))) failed.push(row.request)
    }
  }
  if (failed.length > 0) table.note(`the sidecar's log ends so:\n${lastWords(stage)}`)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  table.verdict(failed, `${played - failed.length} of ${played} rows as expected, ${seconds} s`)
  if (KEEP) await leaveRunning(stage, (text) => void process.stdout.write(text))
  return failed.length === 0 ? 0 : 1
}

// The microseconds of a process that has just started say more about the compiler than about the product.
async function warmUp(stage: Stage, cast: Cast): Promise<void> {
  const load = runLoad('warm', stage, cast)
  await load.settled(WARM_UP_REQUESTS, WARM_UP_MS).catch(() => undefined)
  await load.judge()
  table.note(`warmed up. Each row is asked ${TIMES} times; the times are medians:`)
  table.note(
    "µs the sidecar's own, app µs what the application waits, with all three processes on this machine",
  )
}

function lastWords({ sidecar }: Stage): string {
  return [...sidecar.noise, ...sidecar.events.map((event) => JSON.stringify(event))].slice(-20).join('\n')
}

async function show(row: Row, stage: Stage, cast: Cast): Promise<boolean> {
  const outcome = await row.play(stage, cast).catch(broken)
  const faults = [...(outcome.faults ?? [])]
  if (outcome.answer !== row.expected && faults.length === 0) faults.push(`expected ${row.expected}`)
  table.line({ ...outcome, request: row.request, expected: row.expected, faults })
  return faults.length === 0
}

function broken(error: unknown): Outcome {
  return { answer: 'broken', reason: '', faults: [error instanceof Error ? error.message : String(error)] }
}

// Tokens as real clients get them: people by authorization code with PKCE, machines by client_credentials.
async function castOf(idp: Idp): Promise<Cast> {
  const alice = await idp.userTokens('alice')
  return {
    alice: alice.accessToken,
    aliceId: alice.idToken,
    aliceReader: (await idp.userTokens('alice', 'invoice:read')).accessToken,
    bob: (await idp.userTokens('bob')).accessToken,
    mallory: (await idp.userTokens('mallory')).accessToken,
    acmeRobot: await idp.machineToken('acme-robot', 'invoice:read'),
    globexRobot: await idp.machineToken('globex-robot', 'invoice:read'),
  }
}
