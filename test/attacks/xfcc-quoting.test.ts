import { describe } from 'vitest'
import { judgesProofs, type ProofAttack } from './dpop-arena.ts'
import { callFrom, client, hashOf, hop, OWN, openBehindEnvoy, said, thief } from './hops.ts'

// The thief has a certificate of his own and chooses its subject; the proxy quotes it.
const arena = await openBehindEnvoy()
const good = hashOf(client.der)
const bad = hashOf(thief.der)
const SUBJECTS: readonly (readonly [
  subject: string,
  reason: 'mtls_mismatch' | 'mtls_header_invalid' | 'mtls_untrusted_hop',
])[] = [
  [`Subject="CN=x;Hash=${good}"`, 'mtls_mismatch'],
  [`Subject="CN=x,Hash=${good}"`, 'mtls_mismatch'],
  [`Subject="CN=x,By=${OWN};Hash=${good}"`, 'mtls_mismatch'],
  [`Subject="CN=\\",By=${OWN};Hash=${good};Subject=\\""`, 'mtls_mismatch'],
  [`Subject="CN=\\\\\\",By=${OWN};Hash=${good}"`, 'mtls_mismatch'],
  [`Subject="CN=x";Hash=${good}`, 'mtls_header_invalid'],
  [`Subject="CN=x"";Hash=${good};Subject=""`, 'mtls_header_invalid'],
  [`Subject="CN=x"y,By=${OWN};Hash=${good}`, 'mtls_header_invalid'],
  [`Subject="CN=x`, 'mtls_header_invalid'],
  [`Subject="CN=x\\`, 'mtls_header_invalid'],
  [`Subject="CN=x\\"`, 'mtls_header_invalid'],
  [`Subject=CN=x;Hash=${good}`, 'mtls_header_invalid'],
  [`Subject='CN=x;Hash=${good}'`, 'mtls_header_invalid'],
  [`Subject="CN=x\r\nX: y"`, 'mtls_header_invalid'],
  [`URI="spiffe://x/y;Hash=${good}"`, 'mtls_mismatch'],
  [`DNS=a%22,Hash=${good};DNS=b`, 'mtls_untrusted_hop'],
]

describe('attack 69: a certificate whose subject is written like the end of an element', () => {
  judgesProofs(
    arena,
    SUBJECTS.map(
      ([subject, reason]): ProofAttack => [
        `attack 69: ${JSON.stringify(subject).slice(0, 60)}…`,
        callFrom(hop, `By=${OWN};Hash=${bad};${subject}`),
        reason,
      ],
    ),
  )
  judgesProofs(arena, [
    [
      'attack 69: a subject that is only odd',
      callFrom(hop, `${said(client.der)};Subject="CN=\\"a\\",O=b\\\\"`),
      'allow',
    ],
  ])
})
