import { describe } from 'vitest'
import { BASE_URL, type ProofForge } from '../fixtures/proofs.ts'
import { type Call, judgesProofs, openDpopArena, type ProofAttack } from './dpop-arena.ts'

const HOST = 'api.test.example'
const arena = await openDpopArena()
const signedFor = (url: string, more: Omit<Call, 'proof'> = {}): Call => ({
  ...more,
  proof: { url } satisfies ProofForge,
})

const EQUAL: readonly string[] = [
  `${BASE_URL}/invoices/inv-1`,
  `${BASE_URL}/invoices/inv-1?page=2`,
  `${BASE_URL}/invoices/inv-1#top`,
  `HTTPS://API.Test.Example/invoices/inv-1`,
  `https://${HOST}:443/invoices/inv-1`,
  `https://${HOST}:/invoices/inv-1`,
  `${BASE_URL}/invoices/inv%2D1`,
  `${BASE_URL}/%69nvoices/inv-1`,
  `${BASE_URL}/x/../invoices/./inv-1`,
  `${BASE_URL}/x/%2e%2e/invoices/inv-1`,
]

const OTHER: readonly string[] = [
  `${BASE_URL}/invoices/inv-2`,
  `${BASE_URL}/invoices/inv-1/`,
  `${BASE_URL}/invoices`,
  `${BASE_URL}/Invoices/inv-1`,
  `${BASE_URL}//invoices/inv-1`,
  `${BASE_URL}/invoices//inv-1`,
  `${BASE_URL}/invoices%2Finv-1`,
  `${BASE_URL}/invoices%2finv-1`,
  `${BASE_URL}/invoices/inv-1;v=1`,
  `${BASE_URL}/api/invoices/inv-1`,
  `${BASE_URL}\\invoices\\inv-1`,
  `${BASE_URL}/invoices\\inv-1`,
  `https:${HOST}/invoices/inv-1`,
  `https:/${HOST}/invoices/inv-1`,
  `https:\\\\${HOST}/invoices/inv-1`,
  `//${HOST}/invoices/inv-1`,
  `/invoices/inv-1`,
  `http://${HOST}/invoices/inv-1`,
  `http://${HOST}:443/invoices/inv-1`,
  `https://${HOST}:8443/invoices/inv-1`,
  `https://${HOST}:0443/invoices/inv-1`,
  `https://${HOST}./invoices/inv-1`,
  `https://alice@${HOST}/invoices/inv-1`,
  `https://alice:secret@${HOST}/invoices/inv-1`,
  `https://${HOST}@evil.example/invoices/inv-1`,
  `https://evil.example/invoices/inv-1`,
  `https://${HOST}.evil.example/invoices/inv-1`,
  `https://evil-${HOST}/invoices/inv-1`,
  `https://evil.example#${HOST}/invoices/inv-1`,
  `https://evil.example?${BASE_URL}/invoices/inv-1`,
  ` ${BASE_URL}/invoices/inv-1`,
  `${BASE_URL}/invoices/inv-1 `,
  `${BASE_URL}/invoices/inv-1\n`,
  `${BASE_URL}/in\tvoices/inv-1`,
  `${BASE_URL}/invoices/inv-1%`,
  `${BASE_URL}/invoices/inv-1%00`,
  `https://ａpi.test.example/invoices/inv-1`,
  `https://api。test.example/invoices/inv-1`,
  '',
  'null',
  '*',
]

describe('attack 56: a proof for a URL that is nearly this one', () => {
  judgesProofs(
    arena,
    EQUAL.map(
      (url): ProofAttack => [
        `attack 56: ${JSON.stringify(url)}, which is this one,`,
        signedFor(url),
        'allow',
      ],
    ),
  )
  judgesProofs(
    arena,
    OTHER.map((url): ProofAttack => [`attack 56: ${JSON.stringify(url)}`, signedFor(url), 'dpop_htu']),
  )
  judgesProofs(arena, [
    [
      'attack 56: a request whose path takes a detour',
      signedFor(`${BASE_URL}/invoices/inv-1`, { url: '/x/../invoices/%69nv-1' }),
      'allow',
    ],
    [
      'attack 56: a request for another path that only a lenient reader takes for this one',
      signedFor(`${BASE_URL}/invoices/inv-1`, { url: '/x\\..\\invoices/inv-1' }),
      'dpop_htu',
    ],
    [
      'attack 56: a request with an encoded slash',
      signedFor(`${BASE_URL}/a/b`, { url: '/a%2Fb' }),
      'dpop_htu',
    ],
  ])
})

const prefixed = await openDpopArena({
  tokens: { externalBaseUrl: `${BASE_URL}/shop`, strippedPrefix: '/shop' },
})
describe('attack 56: a proof for another prefix', () => {
  judgesProofs(prefixed, [
    ['attack 56: the URL that callers see', signedFor(`${BASE_URL}/shop/invoices/inv-1`), 'allow'],
    ['attack 56: the URL that the application sees', signedFor(`${BASE_URL}/invoices/inv-1`), 'dpop_htu'],
    ['attack 56: another prefix', signedFor(`${BASE_URL}/shops/invoices/inv-1`), 'dpop_htu'],
    ['attack 56: the prefix twice', signedFor(`${BASE_URL}/shop/shop/invoices/inv-1`), 'dpop_htu'],
    [
      'attack 56: a request that climbs out of the prefix',
      signedFor(`${BASE_URL}/invoices/inv-1`, { url: '/../invoices/inv-1' }),
      'dpop_htu',
    ],
  ])
})
