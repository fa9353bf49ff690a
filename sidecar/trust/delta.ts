import type { Delta, KeyFreshness, Snapshot } from '../../contracts/gen/portcullis/feed/v1/feed.ts'

/** The whole snapshot that a delta stands for. It is then taken or refused like any other. */
export function applyDelta(base: Snapshot, delta: Delta): Snapshot {
  const gone = new Set([...delta.removedIssuers, ...delta.issuers.map(({ issuer }) => issuer)])
  return {
    generation: delta.generation,
    profile: delta.profile ?? base.profile,
    issuers: [...base.issuers.filter(({ issuer }) => !gone.has(issuer)), ...delta.issuers],
    policy: delta.policy ?? base.policy,
    withheld: '',
  }
}

/** The same snapshot with keys that may be used for longer. Terms of issuers that it does not name, or that end earlier, change nothing. */
export function withFreshness(snapshot: Snapshot, { terms }: KeyFreshness): Snapshot {
  const until = new Map(terms.map(({ issuer, notAfterMs }) => [issuer, notAfterMs]))
  const issuers = snapshot.issuers.map((one) => {
    const notAfterMs = until.get(one.issuer) ?? 0
    // 0 stands for keys without an end: nothing is later.
    return one.keys && one.keys.notAfterMs !== 0 && notAfterMs > one.keys.notAfterMs
      ? { ...one, keys: { ...one.keys, notAfterMs } }
      : one
  })
  return { ...snapshot, issuers }
}

/** How long the keys of a snapshot may be used, as a message of its own. */
export function freshnessOf({ issuers }: Snapshot): KeyFreshness {
  return { terms: issuers.map(({ issuer, keys }) => ({ issuer, notAfterMs: keys?.notAfterMs ?? 0 })) }
}

/**
 * What a generation stands for: without how long keys may be used, without who signed the policy, which is signed anew when the
 * key is rotated, and in one order. Two snapshots that are the same here say the same.
 */
export function essenceOf(snapshot: Snapshot): Snapshot {
  const issuers = snapshot.issuers.map((one) => ({
    ...one,
    keys: one.keys && { ...one.keys, notAfterMs: one.keys.notAfterMs === 0 ? 0 : 1 },
  }))
  const { policy } = snapshot
  return {
    ...snapshot,
    issuers: issuers.sort(by(({ issuer }) => issuer)),
    policy: policy && {
      ...policy,
      signature: undefined,
      files: policy.files.toSorted(by(({ path }) => path)),
    },
  }
}

function by<T>(name: (one: T) => string): (one: T, other: T) => number {
  return (one, other) => (name(one) < name(other) ? -1 : 1)
}
