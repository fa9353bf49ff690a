import { FINGERPRINT_KINDS, type FingerprintedKind, made } from '../../contracts/fingerprint.ts'
import type { Revocation } from '../../contracts/gen/portcullis/feed/v1/feed.ts'
import type { DenyFact, Revoked } from '../ports.ts'
import type { Moment } from '../request.ts'
import { createRevocationTable } from './revocation-table.ts'
import { REVOCATION_LIMITS } from './revocation-wire.ts'
import type { KnownRevocations } from './revocations.ts'

/** What this sidecar denies by itself, whatever anybody else knows of it. Nothing that an operator says takes it away. */
export interface LocalRevocations extends KnownRevocations {
  /** In force when it returns. `false`: there is no room; nothing is dropped for it. */
  deny(entry: Revocation, at: Moment): boolean
}

const MOST = 100_000

export function createLocalRevocations(): LocalRevocations {
  const table = createRevocationTable()
  let epoch = 0
  return {
    head: 0,
    get epoch() {
      return epoch
    },
    get size() {
      return table.size()
    },
    against: table.against,
    deny(entry, at) {
      table.sweep(at)
      if (table.grownBy([entry], false).entries > MOST) return false
      table.put(entry)
      epoch++
      return true
    },
  }
}

/** Both count. The position is that of the first, which is the operator's. */
export function joinRevocations(first: KnownRevocations, second: KnownRevocations): KnownRevocations {
  return {
    get epoch() {
      return first.epoch + second.epoch
    },
    get head() {
      return first.head
    },
    get size() {
      return first.size + second.size
    },
    against: (who, token, at) => first.against(who, token, at) ?? second.against(who, token, at),
  }
}

/** In force in `local` at once; what came of it everywhere is for `tell` to say. `issuers`: those believed, if any can be now. */
export function denyFirst(
  local: LocalRevocations,
  issuers: () => ReadonlyMap<string, { readonly source: string }> | undefined,
  tell: (entry: Revocation, signal: AbortSignal) => Promise<Revoked>,
): (fact: DenyFact, at: Moment, signal: AbortSignal) => Promise<Revoked> {
  return async (fact, at, signal) => {
    const known = issuers()
    // While nothing is believed nothing is allowed either; whose fact it is can be told later.
    if (!known) return 'unavailable'
    const source = known.get(fact.issuer)?.source
    const entry = source === undefined ? undefined : entryOf(fact, source)
    if (!entry) return 'refused'
    const here = local.deny(entry, at)
    const told = await tell(entry, signal).catch((): Revoked => 'unavailable')
    return here ? told : 'unavailable'
  }
}

/** The entry for a fact, under the id that the operator will give it, too; undefined when it is none that may be revoked. */
export function entryOf(fact: DenyFact, source: string): Revocation | undefined {
  const { issuer, kind, value, issuedBeforeMs, expiresAtMs } = fact
  const subject = SUBJECTS[kind](value)
  const sound =
    Object.hasOwn(FINGERPRINT_KINDS, kind) && value.length > 0 && value.length <= REVOCATION_LIMITS.value
  if (!sound || !(expiresAtMs > 0) || !(issuedBeforeMs >= 0)) return undefined
  return made({ id: '', source, issuer, subject, issuedBeforeMs, expiresAtMs })
}

const SUBJECTS: Readonly<Record<FingerprintedKind, (value: string) => Revocation['subject']>> = {
  jti: (jti) => ({ $case: 'jti', jti }),
  sid: (sid) => ({ $case: 'sid', sid }),
  sub: (sub) => ({ $case: 'sub', sub }),
  clientId: (clientId) => ({ $case: 'clientId', clientId }),
}
