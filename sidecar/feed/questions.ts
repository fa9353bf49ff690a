import type { KeysChecked, KidUnknown } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Sleep } from '../ports.ts'

/** Questions about unknown `kid`s that the operator has not answered yet. */
export interface Questions {
  /** Whether a fetch that began after the question has succeeded; `false` too when no answer comes. */
  ask(issuer: string, kid: string, signal: AbortSignal): Promise<boolean>
  answered(message: KeysChecked): void
  /** Whom to ask; `undefined` while no stream is open, and then every open question is over. */
  through(send: ((question: KidUnknown) => void) | undefined): void
  readonly counts: { readonly ok: number; readonly failed: number }
}

const MOST = 64
const WAIT_MS = 10_000

export function createQuestions(sleep: Sleep): Questions {
  const open = new Map<number, (fetched: boolean) => void>()
  const counts = { ok: 0, failed: 0 }
  let send: ((question: KidUnknown) => void) | undefined
  let last = 0

  const answerTo = async (issuer: string, kid: string, signal: AbortSignal): Promise<boolean> => {
    if (!send || open.size >= MOST) return false
    const question = ++last
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const patience = new AbortController()
    open.set(question, resolve)
    const over = () => resolve(false)
    sleep(WAIT_MS, AbortSignal.any([signal, patience.signal])).then(over, over)
    send({ question, issuer, kid })
    const fetched = await promise
    open.delete(question)
    patience.abort()
    return fetched
  }
  return {
    counts,
    async ask(issuer, kid, signal) {
      const fetched = await answerTo(issuer, kid, signal)
      if (fetched) counts.ok++
      else counts.failed++
      return fetched
    },
    answered({ question, fetched }) {
      open.get(question)?.(fetched)
    },
    through(next) {
      send = next
      if (next) return
      for (const over of open.values()) over(false)
    },
  }
}
