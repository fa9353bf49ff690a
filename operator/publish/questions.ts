import type { KidUnknown } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { Monotonic } from '../ports.ts'
import type { AskKeys } from './refresh.ts'
import { encode } from './wire.ts'

/** Unknown `kid`s that one sidecar asks about. */
export interface Questions {
  asked(question: KidUnknown): void
  /** What is in effect has changed, or time has passed. */
  settle(): void
  /** An answer that is due. */
  next(): Buffer | undefined
}

export interface QuestionNeeds {
  readonly ask: AskKeys
  /** `namespace/name` of the TokenIssuer with that `iss`, if this sidecar is to believe it. */
  readonly tokenIssuer: (iss: string) => string | undefined
  /** SHA-256, hex, of the key set of that `iss` that is in effect in this sidecar. */
  readonly inEffect: (iss: string) => string | undefined
  readonly now: Monotonic
  readonly wake: () => void
}

const AT_ONCE = 64
const KID_LENGTH = 256
/** How long what was fetched may take to be in effect. */
const PATIENCE_MS = 5_000

interface Awaiting {
  readonly question: number
  readonly issuer: string
  readonly sha256: string
  readonly until: number
}

/** Answered only when what the fetch brought is in effect: a sidecar that looked again earlier would call a good token forged. */
export function createQuestions({ ask, tokenIssuer, inEffect, now, wake }: QuestionNeeds): Questions {
  let asking = 0
  let awaiting: readonly Awaiting[] = []
  const answers: { readonly question: number; readonly fetched: boolean }[] = []

  const answer = (question: number, fetched: boolean): void => {
    answers.push({ question, fetched })
    wake()
  }
  const settle = (): void => {
    const due = awaiting.filter(({ issuer, sha256, until }) => inEffect(issuer) === sha256 || now() >= until)
    if (due.length === 0) return
    awaiting = awaiting.filter((one) => !due.includes(one))
    for (const { question, issuer, sha256 } of due) answer(question, inEffect(issuer) === sha256)
  }
  return {
    settle,
    asked({ question, issuer, kid }) {
      const source = tokenIssuer(issuer)
      const open = asking + awaiting.length + answers.length
      if (open >= 2 * AT_ONCE) return
      if (source === undefined || kid.length > KID_LENGTH || open >= AT_ONCE) {
        answer(question, false)
        return
      }
      asking++
      void ask(source, kid).then(({ fetched, sha256 }) => {
        asking--
        if (!fetched) {
          answer(question, false)
          return
        }
        awaiting = [...awaiting, { question, issuer, sha256, until: now() + PATIENCE_MS }]
        settle()
      })
    },
    next() {
      const due = answers.shift()
      return due && encode({ $case: 'keysChecked', keysChecked: due })
    },
  }
}
