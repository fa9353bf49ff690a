import { asks, faultsOf, judged, type Row, type Scene } from './scene.ts'

const path = '/invoices/a-1'
const own = { status: 200, why: 'invoice.read.owner' }

export const keys: Scene = {
  title: "The provider's keys: it rotates them, then it dies",
  rows: [
    rotation(),
    asks('a token under the old key goes on', own, ({ alice }) => ({ path, token: alice })),
    asks('provider killed: tokens under known keys go on', own, async ({ alice }, { idp }) => {
      await idp.kill()
      return { path, token: alice }
    }),
    asks(
      'a token under a key nobody can fetch',
      { status: 503, why: 'jwks_unavailable' },
      async (_cast, { idp }) => {
        await idp.rotate()
        return { path, token: await idp.mint() }
      },
    ),
    asks('known keys still go on after that', own, ({ alice }) => ({ path, token: alice })),
  ],
}

// The first token under a new kid makes the sidecar ask for keys once; the next ones find them.
function rotation(): Row {
  return {
    request: 'rotated: first tokens under the new kid; JWKS fetches',
    expected: '200, 1',
    play: async (stage, _cast) => {
      const before = stage.idp.jwksFetches()
      await stage.idp.rotate()
      const { accessToken } = await stage.idp.userTokens('alice')
      const first = await stage.ask({ path, token: accessToken })
      const burst = await Promise.all([1, 2, 3].map(() => stage.ask({ path, token: accessToken })))
      const outcome = judged(first, own)
      const failed = burst.filter(({ status }) => status !== 200).length
      return {
        ...outcome,
        answer: `${first.status}, ${stage.idp.jwksFetches() - before}`,
        faults: [
          ...(outcome.faults ?? []),
          ...faultsOf([[failed > 0, `${failed} of the next three were refused`]]),
        ],
      }
    },
  }
}
