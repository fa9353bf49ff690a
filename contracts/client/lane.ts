import type { Client } from '@grpc/grpc-js'
import { type Denial, refuse } from './answer.ts'
import { openChannel } from './channel.ts'
import { after, monotonicMs } from './timing.ts'
import type { LostCause, OpenTransport, Transport } from './transport.ts'

/** How long past its deadline a question may stay unanswered before the whole connection counts as dead. */
const SILENCE_MS = 1000
const ID_MAX = 0xffff_ffff

/** A question on its way to an answer. */
export interface Asked<A> {
  readonly bytes: Uint8Array
  /** On the monotonic clock. */
  readonly deadlineAt: number
  readonly decide: (answer: A | Denial) => void
}

export interface LaneEvents<A> {
  /** A question may be sent that could not before. */
  readonly freed: () => void
  /** Takes no further question, though answers may still arrive. `proven`: it had answered at least once. */
  readonly retired: (proven: boolean, detail: string) => void
  readonly gone: (lane: Lane<A>) => void
}

export interface LaneSettings<A> {
  readonly window: number
  readonly openTransport: OpenTransport
  /** Judges the bytes of an answer. Never throws. */
  readonly read: (bytes: Uint8Array) => A | Denial
}

interface Slot<A> {
  asked: Asked<A> | undefined
  readonly overdueAt: number
}

/** One connection and the questions unanswered on it, at most a window of them. Starts to connect when made. */
export class Lane<A> {
  readonly #settings: LaneSettings<A>
  readonly #events: LaneEvents<A>
  readonly #slots = new Map<number, Slot<A>>()
  readonly #ids = new Map<Asked<A>, number>()
  readonly #closeChannel: () => void
  #phase: 'connecting' | 'open' | 'retired' | 'gone' = 'connecting'
  #transport: Transport | undefined
  #stopLinger: (() => void) | undefined
  /** Slots whose question nobody waits for any more. */
  #abandoned = 0
  #lastId = 0
  /** It has answered at least once. */
  #proven = false

  constructor(address: string, settings: LaneSettings<A>, events: LaneEvents<A>) {
    this.#settings = settings
    this.#events = events
    this.#closeChannel = openChannel(address, {
      ready: (client) => this.#open(client),
      failed: () => this.#lose('unavailable', 'the connection could not be made'),
      leaving: () => this.#retire('the sidecar closed the connection'),
    })
  }

  get isOpen(): boolean {
    return this.#phase === 'open'
  }

  /** Whether one more question may be sent now. Gives the connection up if a question is long overdue on it. */
  isFree(): boolean {
    if (this.isOpen && this.#abandoned > 0 && this.#hasOverdue())
      this.#lose('unavailable', 'the sidecar stopped answering')
    return this.isOpen && this.#slots.size < this.#settings.window
  }

  send(asked: Asked<A>): void {
    const id = freeId(this.#lastId, (taken) => this.#slots.has(taken))
    this.#lastId = id
    this.#slots.set(id, { asked, overdueAt: asked.deadlineAt + SILENCE_MS })
    this.#ids.set(asked, id)
    try {
      this.#transport?.send(id, asked.bytes, asked.deadlineAt - monotonicMs())
    } catch {
      this.#lose('unavailable', 'the connection takes no more questions')
    }
  }

  /** The one who asked stopped waiting. The slot stays taken until answered: for the sidecar the question still counts. */
  abandon(asked: Asked<A>): void {
    const id = this.#ids.get(asked)
    const slot = id === undefined ? undefined : this.#slots.get(id)
    if (id === undefined || slot === undefined) return
    this.#ids.delete(asked)
    slot.asked = undefined
    this.#abandoned += 1
    this.#transport?.forget(id)
  }

  close(detail: string): void {
    this.#lose('unavailable', detail)
  }

  #open(client: Client): void {
    this.#transport = this.#settings.openTransport(client, {
      answered: (id, answer) => {
        this.#proven ||= this.#slots.has(id)
        this.#settle(id, () => this.#settings.read(answer))
      },
      failed: (id, cause, detail) => this.#settle(id, () => refuse(cause, detail)),
      lost: (cause, detail) => this.#lose(cause, detail),
    })
    this.#phase = 'open'
    this.#events.freed()
  }

  /** Frees the slot of `id`. An id that was never given out, or was answered before, changes nothing. */
  #settle(id: number, decide: () => A | Denial): void {
    const slot = this.#slots.get(id)
    if (slot === undefined) return
    this.#slots.delete(id)
    if (slot.asked === undefined) this.#abandoned -= 1
    else this.#ids.delete(slot.asked)
    slot.asked?.decide(decide())
    if (this.#phase === 'retired' && this.#slots.size === 0)
      this.#lose('unavailable', 'the last answer has come')
    this.#events.freed()
  }

  #retire(detail: string): void {
    if (this.#phase !== 'open') return
    this.#phase = 'retired'
    this.#events.retired(this.#proven, detail)
    if (this.#slots.size === 0) this.#lose('unavailable', detail)
    else this.#linger()
  }

  #linger(): void {
    // The stream is not half-closed meanwhile: a server may take that for the end of our interest in its answers.
    const lastAt = Math.max(...this.#slots.values().map((slot) => slot.overdueAt))
    this.#stopLinger = after(lastAt - monotonicMs(), () =>
      this.#lose('unavailable', 'the sidecar left without answering'),
    )
  }

  #lose(cause: LostCause, detail: string): void {
    if (this.#phase === 'gone') return
    const wasRetired = this.#phase === 'retired'
    this.#phase = 'gone'
    const unanswered = [...this.#slots.values()]
    this.#slots.clear()
    this.#ids.clear()
    this.#stopLinger?.()
    this.#transport?.destroy()
    this.#closeChannel()
    if (!wasRetired) this.#events.retired(this.#proven, detail)
    this.#events.gone(this)
    for (const { asked } of unanswered) asked?.decide(refuse(cause, detail))
  }

  #hasOverdue(): boolean {
    const at = monotonicMs()
    return this.#slots.values().some((slot) => slot.overdueAt < at)
  }
}

/** The next id after `last` that no unanswered question carries; a uint32, so it comes round. */
export function freeId(last: number, isTaken: (id: number) => boolean): number {
  let id = last
  do id = id >= ID_MAX ? 0 : id + 1
  while (isTaken(id))
  return id
}
