import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'

// What the kernel says about a process. Linux only.

/** What the scheduler counts: microseconds on a processor, and ready for one while somebody else had it. */
export interface Times {
  readonly ran: number
  readonly waited: number
}

/** Of every thread of a process, by thread id. */
export function threadTimes(pid: number): ReadonlyMap<string, Times> {
  return new Map(
    readdirSync(`/proc/${pid}/task`).map((thread) => [thread, schedstat(`${pid}/task/${thread}`)]),
  )
}

/**
 * What a process used between two looks: all threads together, and how long its busiest thread was kept
 * waiting.
 */
export function usedBetween(before: ReadonlyMap<string, Times>, after: ReadonlyMap<string, Times>): Times {
  const used = [...after].map(([thread, { ran, waited }]) => {
    const then = before.get(thread) ?? { ran: 0, waited: 0 }
    return { ran: Math.max(0, ran - then.ran), waited: waited - then.waited }
  })
  const busiest = used.reduce((most, one) => (one.ran > most.ran ? one : most), { ran: 0, waited: 0 })
  return { ran: used.reduce((sum, { ran }) => sum + ran, 0), waited: busiest.waited }
}

/** Resident memory now, and the most since `forgetPeak`, bytes. */
export function residentBytes(pid: number): { readonly now: number; readonly peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return { now: kilobytes(status, 'VmRSS') * 1024, peak: kilobytes(status, 'VmHWM') * 1024 }
}

export function forgetPeak(pid: number): void {
  // proc(5): "5" resets the high-water mark.
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}

/** The processors this process may use. */
export function cores(): readonly number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return list.split(',').flatMap((range) => {
    const [from = 0, to = from] = range.split('-').map(Number)
    return Array.from({ length: to - from + 1 }, (_, index) => from + index)
  })
}

// A thread may have ended since it was listed; what it used is lost, but neither Node nor Go ends threads
// under load.
function schedstat(process: string): Times {
  const path = `/proc/${process}/schedstat`
  const [ran = 0, waited = 0] = existsSync(path) ? readFileSync(path, 'utf8').split(' ').map(Number) : []
  return { ran: ran / 1000, waited: waited / 1000 }
}

function kilobytes(status: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0)
}
