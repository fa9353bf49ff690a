import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { createCsr } from '../../contracts/csr.ts'
import { parseSpiffeId, type SpiffeId, verifyX509Svid, type X509Trust } from '../../contracts/spiffe.ts'
import { Fault, type Now, type Random, type Sleep } from '../ports.ts'
import type { MeshIdentity } from './identity.ts'
import { createLive, type Live } from './live.ts'

/** What an issuer gives for a request. */
export interface IssuedSvid {
  readonly spiffeId: string
  readonly chain: readonly Uint8Array[]
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface OwnSvidOptions {
  /** Asks for an SVID. `held` is the present one, to be shown as client certificate. Rejects when there is none to be had now. */
  readonly issue: (csr: Buffer, held: MeshIdentity | undefined, signal: AbortSignal) => Promise<IssuedSvid>
  readonly now: Now
  readonly random: Random
  readonly sleep: Sleep
  /** An SVID that it does not vouch for any more (its root was revoked) is replaced at once. */
  readonly trust?: Live<X509Trust>
  /** A try failed; there will be another. */
  readonly failed: (why: string) => void
}

export interface OwnSvid extends Live<MeshIdentity>, AsyncDisposable {
  /** Renews now, because the trust bundle has changed or somebody was refused. */
  renew(): void
}

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 15_000

/** Gets the program's own SVID, trying until `signal` aborts, and renews it at half of its life, with a new key each time. */
export async function openOwnSvid(options: OwnSvidOptions, signal: AbortSignal): Promise<OwnSvid> {
  const live = createLive(await obtain(options, undefined, signal))
  const closing = new AbortController()
  let wake = new AbortController()
  const until = AbortSignal.any([signal, closing.signal])
  const watching = options.trust?.watch(() => {
    if (!vouchedFor(live.current(), options)) wake.abort()
  })
  const renewing = (async () => {
    while (!until.aborted) {
      await options
        .sleep(waitMs(live.current(), options), AbortSignal.any([until, wake.signal]))
        .catch(() => undefined)
      if (until.aborted) return
      wake = new AbortController()
      const next = await obtain(options, live.current(), until).catch(() => undefined)
      if (next) live.set(next)
    }
  })()
  return {
    current: live.current,
    watch: live.watch,
    renew: () => wake.abort(),
    [Symbol.asyncDispose]: async () => {
      watching?.[Symbol.dispose]()
      closing.abort()
      await renewing
    },
  }
}

// Half of the life, give or take a tenth, so that replicas started together do not renew together.
function waitMs({ notBeforeMs, notAfterMs }: MeshIdentity, { now, random }: OwnSvidOptions): number {
  const half = ((notAfterMs - notBeforeMs) / 2) * (0.9 + 0.2 * random())
  return Math.max(1_000, notBeforeMs + half - now())
}

/**
 * A renewal has a new key and shows the present SVID; a bootstrap asks for the key that is pinned, or may be: a first answer can be
 * lost after its key was pinned, and after the revocation of a root the present SVID opens no door any more.
 */
async function obtain(
  options: OwnSvidOptions,
  held: MeshIdentity | undefined,
  signal: AbortSignal,
): Promise<MeshIdentity> {
  const { privateKey: fresh } = await promisify(generateKeyPair)('ec', { namedCurve: 'P-256' })
  for (let tries = 0; ; tries += 1) {
    signal.throwIfAborted()
    const shown = held && tries % 2 === 0 && vouchedFor(held, options) ? held : undefined
    const privateKey = shown ? fresh : (held?.privateKey ?? fresh)
    try {
      const given = identityOf(await options.issue(createCsr(privateKey), shown, signal), privateKey)
      if (vouchedFor(given, options)) return given
      // An issuer that has not heard of the change yet signs as before, for some seconds.
      options.failed('the SVID that was issued does not verify against the trust bundle')
    } catch (cause) {
      signal.throwIfAborted()
      options.failed(Fault.from(cause).message)
    }
    const retryMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(tries, 10))
    await options.sleep(retryMs * (0.5 + 0.5 * options.random()), signal)
  }
}

function vouchedFor(held: MeshIdentity, { now, trust }: OwnSvidOptions): boolean {
  if (now() >= held.notAfterMs) return false
  return !trust || verifyX509Svid(held.chain, trust.current(), now()).ok
}

function identityOf(issued: IssuedSvid, privateKey: KeyObject): MeshIdentity {
  const id: SpiffeId | undefined = parseSpiffeId(issued.spiffeId)
  if (!id || issued.chain.length === 0) throw new Fault('internal', 'the issuer answered without an SVID')
  const { chain, notBeforeMs, notAfterMs } = issued
  return { id, chain, privateKey, notBeforeMs, notAfterMs }
}
