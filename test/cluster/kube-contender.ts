import { readFileSync } from 'node:fs'
import { fenced, openLeadership, type Term } from '../../operator/kube/leadership.ts'
import { CONFIG_MAPS } from '../../operator/kube/resources.ts'
import { openTransport } from '../../operator/kube/transport.ts'
import { patch } from '../../operator/kube/verbs.ts'
import { Fault } from '../../operator/ports.ts'
import { createGround } from './kube-ground.ts'

// A process of its own that contends for a lease and, while it leads, writes without pause. One line for each thing that happens;
// every write says at which version of the server's history it was done.

const [namespace = '', identity = '', durationMs = '', server = '', ...files] = process.argv.slice(2)
const [ca = '', cert = '', key = ''] = files.map((path) => readFileSync(path, 'utf8'))
const say = (line: string) => process.stdout.write(`${line}\n`)
const ground = createGround()
const transport = await openTransport({ kind: 'given', server, tls: { ca, cert, key } }, ground)
const target = { resource: CONFIG_MAPS, namespace, name: 'written' }

async function lead(term: Term): Promise<void> {
  say(`won ${term.transitions}`)
  const guarded = fenced(transport, term)
  // Goes on until it is stopped from outside: a term that is over must refuse what is still asked in its name.
  for (;;) {
    try {
      const change = {
        type: 'merge',
        body: { data: { by: identity, at: String(performance.now()) } },
      } as const
      const answer = await patch(guarded, target, change, AbortSignal.timeout(5_000))
      if (answer.ok) say(`wrote ${answer.value.metadata.resourceVersion}`)
    } catch (cause) {
      if (Fault.from(cause).code !== 'lost_lease') throw cause
      say(`fenced ${term.signal.aborted ? 'told' : 'by the clock'}`)
      break
    }
    await ground.sleep(10, term.signal).catch(() => undefined)
  }
  say('over')
}

const leadership = await openLeadership(
  transport,
  {
    namespace,
    name: 'lead',
    identity,
    durationMs: Number(durationMs),
    renewDeadlineMs: Number(durationMs) * 0.7,
    retryMs: 200,
    graceMs: 2_000,
  },
  lead,
  ground,
)
say('ready')
const alive = setInterval(() => undefined, 1_000)
process.once('SIGTERM', async () => {
  await leadership[Symbol.asyncDispose]()
  await transport[Symbol.asyncDispose]()
  clearInterval(alive)
})
