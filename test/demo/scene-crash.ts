import { faultsOf, judged, type Row, type Scene } from './scene.ts'
import { edit, refund } from './scene-rules.ts'
import type { Asked, Stage } from './stage.ts'

export const crash: Scene = {
  title: 'The logs; then the sidecar is killed: the application denies and serves nothing',
  rows: [secrets(), killed(), nothingServed(), unchecked()],
}

const PIECE = 40

// Whatever was asked above, no part of a token may be in a log.
function secrets(): Row {
  return {
    request: 'lines of all logs that hold a piece of a token',
    expected: '0',
    play: async ({ sidecar, app }, cast) => {
      const pieces = Object.values(cast).flatMap((token: string) => token.split('.').slice(1))
      const lines = [...sidecar.decisions, ...sidecar.events].map((line) => JSON.stringify(line))
      const all = [...lines, ...sidecar.noise, ...app.log.lines()]
      const bad = all.filter((line) => pieces.some((piece) => line.includes(piece.slice(0, PIECE))))
      return {
        answer: String(bad.length),
        reason: `${all.length} lines, ${sidecar.decisions.length} of them decisions`,
        faults: faultsOf([
          [sidecar.noise.length > 0, `lines that are no JSON: ${sidecar.noise.join(' | ')}`],
        ]),
      }
    },
  }
}

function killed(): Row {
  return {
    request: 'SIGKILL, then alice reads her invoice',
    expected: '503',
    play: async (stage, { alice }) => {
      await stage.sidecar.kill()
      return judged(await stage.ask({ path: '/invoices/a-1', token: alice }), {
        status: 503,
        why: 'unavailable',
      })
    },
  }
}

function nothingServed(): Row {
  return {
    request: '30 more requests of all kinds: denied / served',
    expected: '30 / 0',
    play: async (stage, { alice, bob, acmeRobot }) => {
      const each = [
        { path: '/invoices/a-1', token: alice },
        { path: '/invoices/a-2', token: bob },
        { path: '/invoices/a-2', token: acmeRobot },
        edit(alice, 'a-1'),
        refund(alice, 10),
        { path: '/invoices/a-1' },
      ]
      const answers = await Promise.all([1, 2, 3, 4, 5].flatMap(() => each.map((ask) => stage.ask(ask))))
      return tally(stage, answers)
    },
  }
}

// The guard's own count, over the whole story.
function unchecked(): Row {
  return {
    request: 'responses of the application that no passed check preceded',
    expected: '0',
    play: async ({ app }) => {
      const { body } = await app.caller.ask({ path: '/counts', id: 'counts' })
      const counts: unknown = JSON.parse(body)
      const of = (name: string) => Number(new Map(Object.entries(counts ?? {})).get(name))
      return {
        answer: String(of('served') - of('checked')),
        reason: `${of('checked')} served, ${of('denied')} denied`,
        faults: faultsOf([[!(of('checked') > 0), 'the guard counted nothing']]),
      }
    },
  }
}

function tally(stage: Stage, answers: readonly Asked[]) {
  const denied = answers.filter(({ status }) => status === 503).length
  const served = answers.filter(({ id }) => stage.app.log.served(id)).length
  const slowest = Math.max(...answers.map(({ checked }) => checked.micros))
  return {
    answer: `${denied} / ${served}`,
    reason: [...new Set(answers.map(({ checked }) => checked.reason))].join(', '),
    seen: slowest,
    faults: faultsOf([[slowest > 10_000_000, 'a denial took longer than ten seconds']]),
  }
}
