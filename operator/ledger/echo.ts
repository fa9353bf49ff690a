import type { KubeObject } from '../kube/resource.ts'
import { isLater } from '../kube/watch-events.ts'
import type { Clocks } from '../ports.ts'

/** What a watch tells of an object. */
export interface News<T> {
  readonly gone: boolean
  readonly object: T
}

/**
 * Keeps our own writes, which are known from their answers, in order with what the watch tells of the same objects: neither is the
 * first by nature. Nothing that the watch tells is lost; what is older than our last write waits.
 */
export interface Echo<T> {
  /** An answer to our own write. False: the watch has already told of it, or of something later. */
  wrote(object: T): boolean
  /** Something of the watch. False: it is from before our last write, and is told again (`late`) if nothing newer comes. */
  heard(news: News<T>): boolean
}

/** How long the watch may take to tell of our own write. After that it is believed, whatever it says: a database may have been restored. */
export const ECHO_MS = 5_000

interface Expected<T> {
  readonly version: string
  readonly until: number
  held: News<T> | undefined
}

export function createEcho<T extends KubeObject>(
  { monotonic, sleep }: Pick<Clocks, 'monotonic' | 'sleep'>,
  late: (news: News<T>) => void,
  signal: AbortSignal,
): Echo<T> {
  const expected = new Map<string, Expected<T>>()
  const told = new Map<string, string>()

  const expire = async (name: string, one: Expected<T>): Promise<void> => {
    await sleep(ECHO_MS, signal)
    if (expected.get(name) !== one) return
    expected.delete(name)
    if (one.held) late(one.held)
  }
  return {
    wrote({ metadata: { name, resourceVersion: version } }) {
      if (version === undefined) return true
      const known = told.get(name)
      if (known !== undefined && !isLater(version, known)) return false
      const one = { version, until: monotonic() + ECHO_MS, held: undefined }
      expected.set(name, one)
      expire(name, one).catch(() => undefined) // closed meanwhile
      return true
    },
    heard(news) {
      const { name, resourceVersion: version = '' } = news.object.metadata
      const wanted = expected.get(name)
      const older = wanted && version !== wanted.version && !isLater(version, wanted.version)
      if (news.gone) told.delete(name)
      else told.set(name, version)
      if (wanted && older && monotonic() < wanted.until) {
        wanted.held = news
        return false
      }
      expected.delete(name)
      return true
    },
  }
}
