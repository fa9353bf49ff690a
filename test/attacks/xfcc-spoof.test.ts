import { describe } from 'vitest'
import { judgesProofs, openDpopArena } from './dpop-arena.ts'
import { callFrom, client, hashOf, hop, openBehindEnvoy, said, stranger, thief } from './hops.ts'

const behind = await openBehindEnvoy()
const direct = await openDpopArena()
const right = said(client.der)

describe('attack 68: a header that says what the thief wants', () => {
  judgesProofs(behind, [
    ['attack 68: from a client without a certificate', callFrom(undefined, right), 'mtls_untrusted_hop'],
    ['attack 68: from a client with another certificate', callFrom(thief.der, right), 'mtls_untrusted_hop'],
    ['attack 68: from a proxy whose name is nearly trusted', callFrom(stranger, right), 'mtls_untrusted_hop'],
    [
      'attack 68: sent through the proxy, which puts its own word behind',
      callFrom(hop, `${right},${said(thief.der)}`),
      'mtls_mismatch',
    ],
    [
      'attack 68: sent through the proxy as a line of its own',
      callFrom(hop, right, said(thief.der)),
      'mtls_header_invalid',
    ],
    [
      'attack 68: that another proxy said to somebody else',
      callFrom(hop, `By=spiffe://x/y;Hash=${hashOf(client.der)}`),
      'mtls_untrusted_hop',
    ],
    [
      'attack 68: the word of the proxy about the right client',
      callFrom(hop, `${said(thief.der)},${right}`),
      'allow',
    ],
  ])
  judgesProofs(direct, [
    ['attack 68: where no proxy is trusted, from anybody', callFrom(hop, right), 'mtls_untrusted_hop'],
    [
      'attack 68: where no proxy is trusted, beside the right certificate',
      callFrom(client.der, said(thief.der)),
      'allow',
    ],
  ])
})
