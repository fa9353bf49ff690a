import { caBundle } from './forms.ts'
import { choice, formed, object, ruled, set, whole } from './schema.ts'

const HOST = '[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?'

function form(description: string, name: string, max = 128) {
  return formed(description, {
    max,
    pattern: '^[A-Za-z0-9._-]+$',
    says: `must be ${name}: letters, digits, ".", "_" and "-"`,
  })
}

/**
 * Where sidecars share what they have seen. There is no password among the members: a workload shows its X.509-SVID, which Redis
 * takes as a user of its ACL (`tls-auth-clients`), so that nothing static lies in a pod.
 */
export function redis() {
  return ruled(
    object(
      'Redis that all replicas share: used DPoP proofs and refresh families. Absent: each replica accepts only proofs with a nonce of its own, and refresh families are known to one replica alone, until it restarts.',
      {
        mode: choice('What it is.', ['Standalone', 'Sentinel', 'Cluster']).default('Standalone'),
        endpoints: set(
          'The server, the sentinels, or some nodes of the cluster, each HOST:PORT.',
          formed('HOST:PORT.', {
            max: 260,
            pattern: `^${HOST}:[1-9][0-9]{0,4}$`,
            says: 'must be HOST:PORT in lower case, such as redis.shop.svc:6379',
          }),
          { min: 1, max: 8 },
        ),
        sentinelName: form('Name of the master set, with mode Sentinel.', 'a name').exactOptional(),
        username: form('User of the ACL; absent: the default one.', 'a user').exactOptional(),
        keyPrefix: form('Begins every key.', 'a prefix', 64).default('portcullis'),
        replicas: whole('Replicas that must have a change to a refresh family before it is told.', {
          from: 0,
          to: 8,
        }).default(0),
        tls: choice(
          "Required: over TLS, with the workload's X.509-SVID as client certificate. Off: for a network that nobody else is on.",
          ['Required', 'Off'],
        ).default('Required'),
        caBundle: caBundle(
          'PEM certificates that sign its servers; at most two, of at most 4 KiB. Absent: the well-known authorities.',
          4096,
        ).exactOptional(),
        serverName: form(
          'Name in the certificates of its servers, when it is not their host.',
          'a host name',
        ).exactOptional(),
      },
    ),
    {
      says: 'goes with mode Sentinel and only with it: give sentinelName, or change mode',
      cel: "(self.mode == 'Sentinel') == has(self.sentinelName)",
      holds: ({ mode, sentinelName }) => (mode === 'Sentinel') === (sentinelName !== undefined),
      at: 'sentinelName',
    },
    {
      says: 'has one server only with mode Standalone: name that one, or change mode',
      cel: "self.mode != 'Standalone' || self.endpoints.size() == 1",
      holds: ({ mode, endpoints }) => mode !== 'Standalone' || endpoints.length === 1,
      at: 'endpoints',
    },
    {
      says: 'goes with tls Required only: without a certificate nothing proves who we are; take username out',
      cel: "self.tls == 'Required' || !has(self.username)",
      holds: ({ tls, username }) => tls === 'Required' || username === undefined,
      at: 'username',
    },
  )
}
