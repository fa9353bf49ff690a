import { refuse } from '../client/answer.ts'
import type { Denial, HttpRequest } from '../client.ts'
import { type HttpResponse, seal } from './response.ts'

/**
 * Responses sent, by what had happened before. `served - checked` is the number of responses that the application sent
 * without a passed check: a forgotten check is that number, and it should be 0.
 */
export interface Counts {
  /** Sent by application code, other than on routes declared open. */
  readonly served: number
  /** Of those, the ones whose request had passed a check. */
  readonly checked: number
  /** Refusals the guard sent because the sidecar (or the lack of one) said no. */
  readonly denied: number
  /** Refusals the guard sent because no declared route had answered. */
  readonly undeclared: number
  /** Sent by routes declared open. */
  readonly open: number
}

export type Counter = keyof Counts

/** How a request came through the guard. */
export type Passage = 'checked' | 'open' | 'denied' | 'undeclared'

export interface PassageEvents {
  /** A counter rose by one. */
  readonly onCount?: (counter: Counter, counts: Counts) => void
  /** A refusal, for the application's logs: `denial.diagnostic` says why. */
  readonly onDenied?: (denial: Denial, request: HttpRequest) => void
}

export interface Passages {
  /** Counts the response when it is sent, whoever sends it. */
  readonly watch: (response: HttpResponse) => void
  /** Watches, and lets nothing out before `mark`. */
  readonly shut: (request: HttpRequest, response: HttpResponse) => void
  /** Says how the request came through, and opens the response. */
  readonly mark: (response: HttpResponse, passage: Passage) => void
  readonly denied: (denial: Denial, request: HttpRequest) => void
  readonly counts: () => Counts
}

const NAMES: Readonly<Record<Passage, readonly Counter[]>> = {
  checked: ['served', 'checked'],
  open: ['open'],
  denied: ['denied'],
  undeclared: ['undeclared'],
}
/** The row of a response that nobody marked: application code sent it, and no check came before. */
const UNMARKED: readonly Counter[] = ['served']

interface Seen {
  passage: Passage | undefined
  counted: boolean
  unseal: (() => void) | undefined
}

export function createPassages(events: PassageEvents): Passages {
  const responses = new WeakMap<HttpResponse, Seen>()
  let totals: Counts = Object.freeze({ served: 0, checked: 0, denied: 0, undeclared: 0, open: 0 })

  function look(response: HttpResponse): Seen {
    const known = responses.get(response)
    if (known !== undefined) return known
    const seen: Seen = { passage: undefined, counted: false, unseal: undefined }
    responses.set(response, seen)
    // A response cut short closes without finishing; once its head is out it counts all the same.
    response.once('finish', () => count(response, seen))
    response.once('close', () => count(response, seen))
    return seen
  }

  function count(response: HttpResponse, seen: Seen): void {
    if (seen.counted || !response.headersSent) return
    seen.counted = true
    for (const counter of seen.passage === undefined ? UNMARKED : NAMES[seen.passage]) {
      totals = Object.freeze({ ...totals, [counter]: totals[counter] + 1 })
      quietly(() => events.onCount?.(counter, totals))
    }
  }

  function shut(request: HttpRequest, response: HttpResponse): void {
    const seen = look(response)
    if (seen.unseal !== undefined || seen.passage !== undefined) return
    seen.unseal = seal(response, () => {
      const denial = refuse('undeclared', 'application code answered without a passed check')
      seen.passage = 'undeclared'
      denied(denial, request)
      return denial.client
    })
  }

  function mark(response: HttpResponse, passage: Passage): void {
    const seen = look(response)
    seen.passage ??= passage
    if (seen.passage === passage) seen.unseal?.()
  }

  function denied(denial: Denial, request: HttpRequest): void {
    quietly(() => events.onDenied?.(denial, request))
  }

  return { watch: (response) => void look(response), shut, mark, denied, counts: () => totals }
}

/** An observer that throws changes neither an answer nor the next observer. */
export function quietly(observe: () => void): void {
  try {
    observe()
  } catch {
    // Its own log is the place for its faults; here there is nobody to tell.
  }
}
