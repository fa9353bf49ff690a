import { parseArgs } from 'node:util'
import { judgeCalls } from './call-law.ts'

/**
 * The law of mutated-call.test.ts for as many cases as a night has room for, in batches; one JSON row a batch, and the sum of all. Ends with
 * 1 at the first call that is allowed and should not be, with 2 when the seconds were over first. Usage: node test/laws/nightly.ts [--cases 1000000] [--seed N] [--seconds S]
 */

const BATCH = 10_000

const { values } = parseArgs({
  options: { cases: { type: 'string' }, seed: { type: 'string' }, seconds: { type: 'string' } },
})
process.exitCode = await main(
  Number(values.cases ?? 1_000_000),
  Number(values.seed ?? Math.floor(Math.random() * 2 ** 30)),
  Number(values.seconds ?? Number.POSITIVE_INFINITY),
)

async function main(cases: number, firstSeed: number, seconds: number): Promise<number> {
  const startedAt = performance.now()
  const elapsed = () => Math.round((performance.now() - startedAt) / 1000)
  const reasons = new Map<string, number>()
  let done = 0
  let allowed = 0
  for (let seed = firstSeed; done < cases && elapsed() < seconds; seed++) {
    const count = Math.min(BATCH, cases - done)
    const judged = await judgeCalls(count, seed)
    done += count
    allowed += judged.allowed
    for (const [reason, times] of judged.reasons) reasons.set(reason, (reasons.get(reason) ?? 0) + times)
    say({ seed, cases: count, allowed: judged.allowed, seconds: elapsed() })
    if (judged.broken === undefined) continue
    say({ seed, broken: judged.broken })
    return 1
  }
  say({
    ...{
      firstSeed,
      cases: done,
      allowed,
      wronglyAllowed: 0,
      kindsOfAnswers: reasons.size,
      seconds: elapsed(),
    },
    reasons: Object.fromEntries([...reasons].sort(([, one], [, other]) => other - one)),
  })
  return done < cases ? 2 : 0
}

function say(row: object): void {
  process.stdout.write(`${JSON.stringify(row)}\n`)
}
