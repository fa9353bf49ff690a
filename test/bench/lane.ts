/** Index of a question in the pool, and what came back for it. */
export type Judge = (index: number, answer: Answer) => void

/** What came back: the bytes of a message, or nothing because the call failed. */
export type Answer = Buffer | undefined

/**
 * One way to ask. Nothing is encoded or interpreted here that could be done before or after the clock
 * runs.
 */
export interface Lane {
  ask(index: number, told: Judge): void
  close(): void
}
