/** A part of the revocation log, encoded; `head` is where a sidecar stands after it. */
export interface LogPart {
  readonly head: number
  readonly body: Buffer
}

/** How far one sidecar was told the revocation log. */
export interface RevocationTrack {
  begin(position: number): void
  next(): LogPart | undefined
  acked(): void
  /** It stands at `position` and refused the part that ends at `head`. */
  nacked(head: number, position: number): void
}

const RETRIES = 3

export function createRevocationTrack(
  headNow: () => number,
  since: (position: number) => readonly LogPart[],
): RevocationTrack {
  let position = 0
  // A sidecar that has heard of nothing is told even that there is nothing.
  let told = false
  let parts: readonly LogPart[] = []
  let refusals = 0
  let givenUp = -1
  const begin = (from: number): void => {
    position = from
    told = from > 0
    parts = []
  }
  return {
    begin,
    next() {
      const head = headNow()
      if (parts.length === 0) {
        if (told && (position === head || givenUp === head)) return undefined
        parts = since(told ? position : 0)
      }
      const [part, ...others] = parts
      if (!part) return undefined
      parts = others
      told = true
      position = part.head
      return part
    },
    acked() {
      refusals = 0
    },
    nacked(head, from) {
      begin(from)
      refusals += 1
      if (refusals >= RETRIES) {
        givenUp = head
        told = true
      }
    },
  }
}
