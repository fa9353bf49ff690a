import { describe } from 'vitest'
import { judgesProofs, openDpopArena } from './dpop-arena.ts'
import { callFrom, client, hashOf, hop, openBehindEnvoy, openBehindStandard, said, thief } from './hops.ts'

// A certificate is public: whoever has seen it can show it, but not the key.
const direct = await openDpopArena()
const envoy = await openBehindEnvoy()
const standard = await openBehindStandard()
const pem = `Cert="${encodeURIComponent(client.cert)}"`
const clientCert = ['client-cert', `:${client.der.toString('base64')}:`] as const
const withClientCert = (peer: Buffer | undefined) => ({ ...callFrom(peer), headers: [clientCert] })

describe('attack 70: the right certificate, without the connection that proves its key', () => {
  judgesProofs(direct, [
    [
      'attack 70: its hash in a header',
      callFrom(undefined, `Hash=${hashOf(client.der)}`),
      'mtls_untrusted_hop',
    ],
    ['attack 70: the whole of it in a header', callFrom(undefined, pem), 'mtls_untrusted_hop'],
    ['attack 70: the whole of it in Client-Cert', withClientCert(undefined), 'mtls_untrusted_hop'],
    ['attack 70: nothing at all', callFrom(undefined), 'mtls_missing'],
    ['attack 70: over a connection that proved another key', callFrom(thief.der, pem), 'mtls_untrusted_hop'],
    [
      'attack 70: over a connection that proved another key, without a header',
      callFrom(thief.der),
      'mtls_mismatch',
    ],
    ['attack 70: over the connection that proved it', callFrom(client.der), 'allow'],
  ])
  judgesProofs(envoy, [
    ['attack 70: past the proxy', callFrom(undefined, said(client.der)), 'mtls_untrusted_hop'],
    ['attack 70: through the proxy, which saw it', callFrom(hop, said(client.der)), 'allow'],
  ])
  judgesProofs(standard, [
    ['attack 70: in Client-Cert past the proxy', withClientCert(thief.der), 'mtls_untrusted_hop'],
    ['attack 70: in Client-Cert through the proxy, which saw it', withClientCert(hop), 'allow'],
  ])
})
