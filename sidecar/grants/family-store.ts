/**
 * Where families are kept: a set of facts for each that only grows. A token is in it as issued, later as used; the family as ended or not.
 * The one race there is, two uses of one token, is decided by who adds "used" first; nothing is compared and written back, so no
 * lock, no transaction that must be tried again and no script is needed. All names are digests, all values are sealed.
 */
export interface FamilyStore {
  create(
    family: Buffer,
    born: Born,
    signal: AbortSignal,
  ): Promise<'created' | 'exists' | 'full' | 'unavailable'>
  find(family: Buffer, token: Buffer, signal: AbortSignal): Promise<Found | 'unknown' | 'unavailable'>
  /** Adds "used" if nobody has; and with it what is issued instead. */
  take(family: Buffer, taking: Taking, signal: AbortSignal): Promise<Taken>
  /** Ends a family for good. It may be unknown. */
  end(family: Buffer, why: EndedWhy, untilMs: number, signal: AbortSignal): Promise<'ended' | 'unavailable'>
}

/** `lost`: it was used before. `stray`: its parent was exchanged for another token. `ended`: by then the family had ended. */
export type Taken = 'won' | 'lost' | 'stray' | 'ended' | 'unavailable'

/** `gap`: what is known of it may lack its last change. */
export const ENDED_WHY = ['replay', 'revoked', 'gap'] as const
export type EndedWhy = (typeof ENDED_WHY)[number]

export interface Born {
  readonly token: Buffer
  readonly issued: Buffer
  readonly facts: Buffer
  readonly expiresAtMs: number
}

export interface Found {
  /** `unreadable` is something that we did not write: it ends the family like any other reason. */
  readonly ended: EndedWhy | 'unreadable' | undefined
  readonly facts: Buffer | undefined
  /** Of the token that was asked for. */
  readonly issued: Buffer | undefined
  readonly used: Buffer | undefined
}

export interface Taking {
  readonly token: Buffer
  readonly used: Buffer
  /** Whose successor `token` is. */
  readonly parent: Buffer | undefined
  readonly next: Buffer
  readonly issued: Buffer
  readonly expiresAtMs: number
}
