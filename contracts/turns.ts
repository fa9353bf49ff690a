/** Runs jobs one at a time, in order of arrival. A job that fails does not stop the next. */
export type InTurn = <T>(job: () => Promise<T>) => Promise<T>

export function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve()
  return (job) => {
    const turn = last.then(job)
    last = turn.catch(() => undefined)
    return turn
  }
}
