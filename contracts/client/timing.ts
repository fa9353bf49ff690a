// The one place where the client meets the clock, timers and chance. It lives in the application's process, where
// nothing hands them down; everything else in the client asks here.

/** Milliseconds on a clock that never goes back. */
export function monotonicMs(): number {
  return performance.now()
}

/** Runs `then` once after `ms` milliseconds, unless the returned function is called first. */
export function after(ms: number, then: () => void): () => void {
  const timer = setTimeout(then, ms)
  return () => clearTimeout(timer)
}

/** `ms`, shortened by up to a half at random, so that the replicas of an application do not knock in step. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2)
}
