import { runLoad } from './load.ts'
import { asks, faultsOf, type Row, type Scene } from './scene.ts'
import { refund } from './scene-rules.ts'
import type { Stage } from './stage.ts'

export const policy: Scene = {
  title: 'The policy: edited and swapped under load, then a corrupted one',
  rows: [
    swap(),
    asks('alice refunds 300: the edited limit is 50', { status: 403, why: 'limit_exceeded' }, ({ alice }) =>
      refund(alice, 300),
    ),
    asks(
      'bob reads the shared one: nothing is shared any more',
      { status: 404, why: 'not_owner' },
      ({ bob }) => ({
        path: '/invoices/a-2',
        token: bob,
      }),
    ),
    corruption(),
    asks(
      'the edited policy goes on, the corrupted one still there',
      { status: 200, why: 'invoice.refund' },
      ({ alice }) => refund(alice, 30),
    ),
  ],
}

const SOME = 400

// No signal: the sidecar sees the new files by itself.
function swap(): Row {
  return {
    request: 'policy swapped under load: failed / mixed answers',
    expected: '0 / 0',
    play: async (stage, cast) => {
      const load = runLoad('swap', stage, cast)
      await load.settled(SOME)
      stage.policy.use('edited')
      await load.sees(stage.policy.revision('edited'))
      await load.settled(SOME)
      return load.judge()
    },
  }
}

// One bit of the module is wrong. It must be told three ways, and change nothing else.
function corruption(): Row {
  return {
    request: 'a corrupted bundle arrives: log, metrics and readyz say so',
    expected: 'refused',
    play: async (stage) => {
      stage.policy.use('corrupted')
      stage.sidecar.reload()
      const refused = await stage.sidecar.event('bundle_refused')
      const metrics = await refusals(stage)
      const ready = await stage.sidecar.admin('/readyz')
      const revision = stage.policy.revision('edited')
      return {
        answer: 'refused',
        reason: String(refused['problem']),
        faults: faultsOf([
          [metrics === 0, 'the metrics count no refused bundle'],
          [ready.status !== 200, `readyz says ${ready.status}, though the old policy is good`],
          [!ready.text.includes('bundle'), `readyz does not mention the refused bundle: ${ready.text}`],
          [!ready.text.includes(revision), `readyz does not name the revision in use: ${ready.text}`],
        ]),
      }
    },
  }
}

async function refusals({ sidecar }: Stage): Promise<number> {
  const { text } = await sidecar.admin('/metrics')
  return Number(/^portcullis_bundle_activations_total\{result="refused"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}
