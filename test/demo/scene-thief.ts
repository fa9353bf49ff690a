import { signingKey } from '../fixtures/keys.ts'
import { forgeProof, jktOf, type ProofForge } from '../fixtures/proofs.ts'
import { type Cast, judgedAll, type Row, type Scene, TIMES, type Wanted } from './scene.ts'
import { EXTERNAL_URL, type Stage } from './stage.ts'

const path = '/invoices/a-1'
const own = { status: 200, why: 'invoice.read.owner' }
const ALICES_KEY = signingKey('ES256', 'alice-browser')
const THIEFS_KEY = signingKey('ES256', 'thief')

export const thief: Scene = {
  title: "Act two. A thief has copied alice's tokens off the wire (real ones, rightly signed)",
  rows: [
    often('her bearer token: whoever holds it is alice', own, ({ alice }) => ({ path, token: alice })),
    often('alice with a DPoP-bound token and a proof by her key', own, async (_cast, stage) =>
      proven(await boundToken(stage.idp), { claims: await nonceFrom(stage) }),
    ),
    often(
      'the thief: that token as a bearer token',
      { status: 401, why: 'cnf_scheme_mismatch' },
      async (_cast, { idp }) => ({ path, token: await boundToken(idp) }),
    ),
    often('the thief: a proof by a key of his own', { status: 401, why: 'dpop_jkt' }, async (_cast, stage) =>
      proven(await boundToken(stage.idp), { key: THIEFS_KEY, claims: await nonceFrom(stage) }),
    ),
    often(
      "the thief: alice's proof for another invoice",
      { status: 401, why: 'dpop_htu' },
      async (_cast, { idp }) => proven(await boundToken(idp), { url: `${EXTERNAL_URL}/invoices/a-2` }),
    ),
    replayed(),
  ],
}

type Asking = (cast: Cast, stage: Stage) => Parameters<Stage['ask']>[0] | Promise<Parameters<Stage['ask']>[0]>

// As `asks`, but each time with a request of its own: a proof is good for once.
function often(request: string, wanted: Wanted, ask: Asking): Row {
  return {
    request,
    expected: String(wanted.status),
    play: async (stage, cast) => {
      const all = []
      for (let i = 0; i < TIMES; i++) all.push(await stage.ask(await ask(cast, stage)))
      return judgedAll(all, wanted)
    },
  }
}

// Alice's own request passes; the copy of it, to the byte, does not.
function replayed(): Row {
  return {
    request: "the thief: alice's very request again, token and proof",
    expected: '200, 401',
    play: async (stage) => {
      const request = proven(await boundToken(stage.idp), { claims: await nonceFrom(stage) })
      const hers = await stage.ask(request)
      const outcome = judgedAll(await stage.askOften(request, TIMES), { status: 401, why: 'dpop_replay' })
      return { ...outcome, answer: `${hers.status}, ${outcome.answer}` }
    },
  }
}

// What the proof must hold: in its first seconds a replica wants a nonce of its own, which its challenge brings (RFC 9449 section 9).
async function nonceFrom(stage: Stage): Promise<Readonly<Record<string, unknown>>> {
  const { nonce } = await stage.ask(proven(await boundToken(stage.idp)))
  return nonce === '' ? {} : { nonce }
}

// Tokens as the provider binds them (RFC 9449 section 6).
function boundToken(idp: Stage['idp']): Promise<string> {
  return idp.mint({ cnf: { jkt: jktOf(ALICES_KEY) } })
}

function proven(token: string, wish: ProofForge = {}) {
  const at = Math.floor(Date.now() / 1000)
  const jti = crypto.randomUUID()
  const proof = forgeProof({ key: ALICES_KEY, url: `${EXTERNAL_URL}${path}`, token, at, jti, ...wish })
  return { path, authorization: [`DPoP ${token}`], proof }
}
