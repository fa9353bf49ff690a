import { type Clocks, Fault } from '../ports.ts'
import { type Contest, createContest, type Instant, type LeaseOptions, lostLease } from './lease.ts'
import type { KubePorts, KubeRequest, Transport } from './transport.ts'

/** One unbroken time of holding the lease. */
export interface Term {
  /** Aborted, with a Fault `lost_lease`, when the term ends for any reason. */
  readonly signal: AbortSignal
  /** Grows with every change of holder: a fencing number for whoever can compare. */
  readonly transitions: number
  /**
   * Whether the lease is still held *now*, by the clock: a process that was paused knows it before its timers do. To be asked
   * right before acting; `fenced` does so for every write.
   */
  valid(): boolean
}

export interface LeadershipOptions extends Omit<LeaseOptions, 'timeoutMs'> {
  /** How long after its last renewal a term ends by itself. Shorter than the lease, or two could lead at once. */
  readonly renewDeadlineMs: number
  /** Between attempts; up to a fifth is added. */
  readonly retryMs: number
  /** How long a shutdown waits for `lead`. */
  readonly graceMs: number
}

/** controller-runtime's values. */
export const LEASE_TIMES = {
  durationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryMs: 2_000,
  graceMs: 8_000,
} as const

export interface Leadership extends AsyncDisposable {
  /** The present term, while it is valid. */
  term(): Term | undefined
}

/** Runs for as long as the term's signal is not aborted; a rejection is reported, and the lease is kept. */
export type Lead = (term: Term) => Promise<void>

/**
 * Contends for a lease until disposed of, and calls `lead` each time it is won. A new term begins only after `lead` of the one before
 * has returned. Disposing ends the term, waits for `lead`, and gives the lease back; if `lead` does not return, the lease runs out.
 */
export async function openLeadership(
  transport: Transport,
  options: LeadershipOptions,
  lead: Lead,
  ports: KubePorts,
): Promise<Leadership> {
  const contest = createContest(transport, { ...options, timeoutMs: options.retryMs * 2 }, ports)
  const closing = new AbortController()
  const holder = createHolder(options, lead, ports)
  const running = contend(contest, holder, { options, ports, signal: closing.signal })
  return {
    term: holder.term,
    async [Symbol.asyncDispose]() {
      closing.abort()
      await running
      holder.end('released')
      if (!(await within(holder.idle(), options.graceMs, ports))) return
      await contest.release(AbortSignal.timeout(options.retryMs * 2)).catch((cause: unknown) => {
        ports.report('lease_not_released', { lease: options.name, detail: Fault.from(cause).message })
      })
    },
  }
}

/**
 * The same transport, but every request that could change something is refused once the term is over: checked right before it goes
 * out, and cut off when the term ends meanwhile.
 */
export function fenced(transport: Transport, term: Term): Transport {
  const guard = (request: KubeRequest, signal: AbortSignal): AbortSignal => {
    if (request.method === 'GET') return signal
    term.signal.throwIfAborted()
    if (!term.valid()) throw lostLease('of this term')
    return AbortSignal.any([signal, term.signal])
  }
  return {
    send: async (request, signal) => transport.send(request, guard(request, signal)),
    stream: async (request, signal) => transport.stream(request, guard(request, signal)),
    [Symbol.asyncDispose]: async () => undefined,
  }
}

interface Contending {
  readonly options: LeadershipOptions
  readonly ports: KubePorts
  readonly signal: AbortSignal
}

async function contend(contest: Contest, holder: Holder, { options, ports, signal }: Contending) {
  while (!signal.aborted) {
    try {
      // While work of an earlier term still runs, somebody else shall have the lease.
      const attempt = holder.ready() ? await contest.attempt(signal) : undefined
      if (attempt?.held) holder.held(attempt.transitions, attempt.since)
      else holder.end('lost')
    } catch (cause) {
      // Not knowing is not losing: the term goes on to its deadline, and ends there by itself.
      if (!signal.aborted)
        ports.report('lease_attempt_failed', { lease: options.name, detail: Fault.from(cause).message })
    }
    const waitMs = options.retryMs * (1 + ports.random() / 5)
    await ports.sleep(waitMs, signal).catch(() => undefined)
  }
}

interface Holder {
  term(): Term | undefined
  /** A term is valid, or nothing of an earlier one still runs. */
  ready(): boolean
  held(transitions: number, since: Instant): void
  end(change: 'lost' | 'released'): void
  /** Resolves when nothing of any term runs any more. */
  idle(): Promise<void>
}

interface Reign {
  readonly term: Term
  readonly end: (change: string) => void
  renewed: Instant
}

function createHolder(options: LeadershipOptions, lead: Lead, ports: KubePorts): Holder {
  const { name, renewDeadlineMs } = options
  let reign: Reign | undefined
  let led: Promise<void> | undefined
  const count = (change: string, leading: 0 | 1): void => {
    ports.metrics.add('portcullis_kube_leader_transitions_total', { name, change })
    ports.metrics.set('leader_election_master_status', { name }, leading)
    ports.report('lease_changed', { lease: name, change })
  }
  const begin = (transitions: number, since: Instant): Reign => {
    const over = new AbortController()
    const { signal } = over
    const valid = () => !signal.aborted && leftMs(mine.renewed, renewDeadlineMs, ports) > 0
    const end = (change: string): void => {
      if (signal.aborted) return
      over.abort(lostLease(name))
      count(change, 0)
    }
    const mine: Reign = { term: { signal, transitions, valid }, end, renewed: since }
    guard(mine, renewDeadlineMs, ports).catch(() => undefined) // ended by other means
    count('won', 1)
    return mine
  }
  const run = async (term: Term): Promise<void> => {
    try {
      await lead(term)
    } catch (cause) {
      if (!term.signal.aborted)
        ports.report('lease_work_failed', { lease: name, detail: Fault.from(cause).message })
    }
    led = undefined
  }
  const isValid = (): boolean => reign?.term.valid() ?? false

  return {
    term: () => (isValid() ? reign?.term : undefined),
    ready: () => isValid() || led === undefined,
    end: (change) => reign?.end(change),
    idle: async () => led,
    held(transitions, since) {
      if (reign && isValid() && reign.term.transitions === transitions) {
        reign.renewed = since
        return
      }
      reign?.end('lost')
      if (led !== undefined || leftMs(since, renewDeadlineMs, ports) <= 0) return
      reign = begin(transitions, since)
      led = run(reign.term)
    },
  }
}

/**
 * By the slower of two clocks to doubt: the monotonic one stands still while a machine is suspended, the wall clock does not. One
 * that jumps ahead ends a term too early, which costs a moment; one that jumps back changes nothing.
 */
function leftMs(
  { monotonic, wall }: Instant,
  deadlineMs: number,
  clocks: Pick<Clocks, 'monotonic' | 'now'>,
): number {
  return deadlineMs - Math.max(clocks.monotonic() - monotonic, clocks.now() - wall)
}

/** Ends the reign at its deadline, unless it is renewed. */
async function guard(reign: Reign, deadlineMs: number, ports: KubePorts): Promise<void> {
  const { signal } = reign.term
  for (let left = deadlineMs; left > 0; left = leftMs(reign.renewed, deadlineMs, ports))
    await ports.sleep(left, signal)
  reign.end('lost')
}

async function within(work: Promise<void>, ms: number, { sleep }: KubePorts): Promise<boolean> {
  const patience = new AbortController()
  const over = sleep(ms, patience.signal).then(
    () => false,
    () => true,
  )
  const done = await Promise.race([work.then(() => true), over])
  patience.abort()
  return done
}
