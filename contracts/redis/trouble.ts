/**
 * Everything that can go wrong between us and Redis, as one closed list: these are labels of metrics and words of reports, so nothing of
 * a server's own text, which may quote keys and values, ever goes further than this file.
 */
export const TROUBLES = [
  /** No connection: not made yet, given up after failures, or refused by the check at its start. */
  'unconnected',
  /** No answer in time. */
  'timeout',
  /** The connection ended before the answer came. */
  'lost',
  /** The caller stopped waiting. */
  'aborted',
  'tls',
  /** Wrong user, wrong password, or an ACL that lacks a command or key. */
  'forbidden',
  /** A replica answered as if it were the master: a failover is under way. */
  'readonly',
  /** `maxmemory` is reached and nothing may be evicted. */
  'full',
  /** Redis stopped taking writes because it cannot persist them, or has too few replicas. */
  'misconfigured',
  'loading',
  'busy',
  /** Slots are moving faster than three redirections. */
  'moved',
  'cluster_down',
  'wrong_type',
  /** What is remembered there may have gaps, see continuity.ts. */
  'gap',
  /** The eviction policy may drop what must be remembered. */
  'evicting',
  'not_master',
  /** No sentinel knows a master, or no node the slots. */
  'unresolved',
  /** The file with the password, a certificate or a key cannot be used. */
  'credentials',
  'other',
] as const
export type Trouble = (typeof TROUBLES)[number]

/** A reply of Redis; `undefined` is its nil. */
export type Reply = Buffer | number | undefined | Refusal | readonly Reply[]
/** An error reply. */
export interface Refusal {
  readonly refused: Trouble
  /** Of a MOVED or ASK: where to. */
  readonly to?: { readonly host: string; readonly port: number; readonly ask: boolean }
}

/**
 * What became of a question. After `executed: 'unknown'` nobody may ask again as if nothing had happened: a `SET NX` whose answer was
 * lost would then look like somebody else's.
 */
export type Answer<T> =
  | { readonly ok: true; readonly reply: T; readonly server: string }
  | { readonly ok: false; readonly trouble: Trouble; readonly executed: 'no' | 'unknown' }

// By the first word of an error reply (RESP, "simple errors").
const REFUSALS: Readonly<Record<string, Trouble>> = {
  READONLY: 'readonly',
  OOM: 'full',
  MISCONF: 'misconfigured',
  NOREPLICAS: 'misconfigured',
  LOADING: 'loading',
  MASTERDOWN: 'loading',
  BUSY: 'busy',
  TRYAGAIN: 'moved',
  MOVED: 'moved',
  ASK: 'moved',
  CLUSTERDOWN: 'cluster_down',
  NOAUTH: 'forbidden',
  WRONGPASS: 'forbidden',
  NOPERM: 'forbidden',
  WRONGTYPE: 'wrong_type',
}

/** An error reply by its text. `asked` is the host that said it, which is what an empty one in MOVED or ASK means (Redis 7). */
export function refusalOf(message: string, asked = ''): Refusal {
  const [word = '', , address = ''] = message.split(' ', 3)
  const refused = Object.hasOwn(REFUSALS, word) ? (REFUSALS[word] ?? 'other') : 'other'
  if (word !== 'MOVED' && word !== 'ASK') return { refused }
  const colon = address.lastIndexOf(':')
  const port = Number(address.slice(colon + 1))
  const host = address.slice(0, Math.max(colon, 0)) || asked
  return Number.isInteger(port) && port > 0 && host !== ''
    ? { refused, to: { host, port, ask: word === 'ASK' } }
    : { refused }
}

export function isRefusal(reply: Reply): reply is Refusal {
  return typeof reply === 'object' && 'refused' in reply
}

/** Troubles that say that the server or the road to it is in no state to be asked again soon. */
const SICK: ReadonlySet<Trouble> = new Set<Trouble>(['timeout', 'lost', 'loading', 'busy', 'cluster_down'])
/** Troubles after which this connection leads to the wrong place: only a new one, to a server asked for anew, can help. */
const STRAY: ReadonlySet<Trouble> = new Set<Trouble>([
  'readonly',
  'not_master',
  'forbidden',
  'evicting',
  'lost',
])

export function sick(trouble: Trouble): boolean {
  return SICK.has(trouble)
}

export function stray(trouble: Trouble): boolean {
  return STRAY.has(trouble)
}
