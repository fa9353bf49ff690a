import { IMAGE, PEM } from './pods.ts'

// What someone may try instead of the sidecar that is injected, and what the guard says to each.

// biome-ignore lint/suspicious/noExplicitAny: pods are broken here in ways that types forbid
type Any = any

/** Name, what the refusal says, and how the injected pod is changed. */
export const LOOK_ALIKES: readonly (readonly [string, RegExp, (pod: Any, sidecar: Any) => void])[] = [
  ['an image of the same name', /\[0\]\.image/, (_, s) => (s.image = IMAGE.replace('aaaa', 'bbbb'))],
  ['an image by tag', /\[0\]\.image/, (_, s) => (s.image = 'registry.example/portcullis-sidecar:1')],
  ['another feed', /\[0\]\.args/, (_, s) => (s.args[2] = 'evil.shop.svc:8443')],
  ['one argument more', /\[0\]\.args/, (_, s) => s.args.push('--standalone')],
  ['one argument less', /\[0\]\.args/, (_, s) => s.args.pop()],
  ['no arguments', /\[0\]\.args/, (_, s) => delete s.args],
  ['a command', /\[0\]\.args/, (_, s) => (s.command = ['/bin/sh'])],
  ['a working directory', /\[0\]\.args/, (_, s) => (s.workingDir = '/tmp')],
  [
    'the sidecar second',
    /\[0\]: must be/,
    (p) => p.spec.initContainers.unshift({ name: 'first', image: 'i' }),
  ],
  [
    'the sidecar as an app container',
    /\[0\]: must be/,
    (p, s) => {
      p.spec.initContainers = []
      p.spec.containers.push({ ...s, restartPolicy: undefined })
    },
  ],
  [
    'a sidecar that ends',
    /\[0\]\.restartPolicy/,
    (_, s) => {
      delete s.restartPolicy
      delete s.startupProbe
      delete s.readinessProbe
      delete s.livenessProbe
    },
  ],
  [
    'root',
    /securityContext/,
    (_, s) => {
      s.securityContext.runAsUser = 0
      s.securityContext.runAsNonRoot = false
    },
  ],
  ['the uid of another', /securityContext/, (_, s) => (s.securityContext.runAsUser = 1000)],
  ['a capability', /securityContext/, (_, s) => (s.securityContext.capabilities.add = ['NET_BIND_SERVICE'])],
  [
    'privileges',
    /securityContext/,
    (_, s) => {
      s.securityContext.privileged = true
      s.securityContext.allowPrivilegeEscalation = true
    },
  ],
  ['a writable root', /securityContext/, (_, s) => (s.securityContext.readOnlyRootFilesystem = false)],
  ['no seccomp', /securityContext/, (_, s) => delete s.securityContext.seccompProfile],
  ['no security context', /securityContext/, (_, s) => delete s.securityContext],
  [
    'NODE_OPTIONS',
    /NODE_OPTIONS could change/,
    (_, s) => s.env.push({ name: 'NODE_OPTIONS', value: '--require /x.js' }),
  ],
  [
    'NODE_OPTIONS in the place of another',
    /\[0\]\.env/,
    (_, s) => (s.env[4] = { name: 'NODE_OPTIONS', value: '-r /x' }),
  ],
  ['a variable twice', /\[0\]\.env/, (_, s) => (s.env[4] = s.env[0])],
  ['variables from a map', /\[0\]\.env/, (_, s) => (s.envFrom = [{ configMapRef: { name: 'x' } }])],
  ['a variable missing', /\[0\]\.env/, (_, s) => s.env.shift()],
  ['another pod uid', /fieldRefs to that very fact/, (_, s) => (s.env[0] = { name: 'POD_UID', value: 'b1' })],
  [
    'a label for the namespace',
    /fieldRefs/,
    (_, s) => (s.env[2].valueFrom.fieldRef.fieldPath = "metadata.labels['n']"),
  ],
  [
    'a stranger as trust anchor',
    /TRUST_ANCHORS must hold/,
    (_, s) => (s.env[5].value = PEM.replace('Zm', 'Ym')),
  ],
  [
    'a stranger beside our anchor',
    /TRUST_ANCHORS must hold/,
    (_, s) => (s.env[5].value += PEM.replace('Zm', 'Ym')),
  ],
  ['no trust anchor', /TRUST_ANCHORS must hold/, (_, s) => (s.env[5].value = '')],
  [
    'an anchor from a secret',
    /TRUST_ANCHORS must hold/,
    (_, s) => (s.env[5] = { name: s.env[5].name, valueFrom: { secretKeyRef: { name: 'x', key: 'y' } } }),
  ],
  ['a probe of another port', /probe/i, (_, s) => (s.readinessProbe.httpGet.port = 8080)],
  ['a probe of another host', /probe/i, (_, s) => (s.startupProbe.httpGet.host = 'example.org')],
  ['a probe that asks less', /probe/i, (_, s) => (s.readinessProbe.httpGet.path = '/livez')],
  ['a probe that runs a program', /probe/i, (_, s) => (s.livenessProbe = { exec: { command: ['x'] } })],
  ['no startup probe', /probe/i, (_, s) => delete s.startupProbe],
  ['a lifecycle hook', /lifecycle/, (_, s) => (s.lifecycle = { preStop: { exec: { command: ['x'] } } })],
  [
    'a mount more',
    /\[0\]\.volumeMounts/,
    (p, s) => {
      p.spec.volumes.push({ name: 'x', emptyDir: {} })
      s.volumeMounts.push({ name: 'x', mountPath: '/app' })
    },
  ],
  ['no token', /\[0\]\.volumeMounts/, (_, s) => s.volumeMounts.splice(2, 1)],
  ['sockets elsewhere', /\[0\]\.volumeMounts/, (_, s) => (s.volumeMounts[0].mountPath = '/run/elsewhere')],
  ['a port of the node', /\[0\]\.ports/, (_, s) => (s.ports[0].hostPort = 9090)],
  ['a privileged port', /\[0\]\.ports/, (_, s) => (s.ports[0].containerPort = 80)],
  ['standard input', /stdin/, (_, s) => (s.stdin = true)],
  [
    'sockets on disk',
    /spec\.volumes: portcullis-socket/,
    (p) => (volume(p, 'portcullis-socket').emptyDir = {}),
  ],
  [
    'sockets of the node',
    /spec\.volumes: portcullis-socket/,
    (p) => replace(p, 'portcullis-spiffe', { hostPath: { path: '/run' } }),
  ],
  [
    'a token that lives long',
    /spec\.volumes: portcullis-socket/,
    (p) => (token(p).expirationSeconds = 86_400),
  ],
  [
    'a token for another',
    /spec\.volumes: portcullis-socket/,
    (p) => (token(p).audience = 'portcullis.dev/other.example'),
  ],
  [
    'a token from a secret',
    /spec\.volumes: portcullis-socket/,
    (p) => replace(p, 'portcullis-token', { secret: { secretName: 'x' } }),
  ],
  [
    'a second token of ours',
    /only the volume of the sidecar/,
    (p) => p.spec.volumes.push(projected('portcullis.dev/cluster.example')),
  ],
  [
    'a token of another domain of ours',
    /only the volume of the sidecar/,
    (p) => p.spec.volumes.push(projected('portcullis.dev/x')),
  ],
  [
    'the token in the application',
    /credential of the sidecar/,
    (p) => p.spec.containers[0].volumeMounts.push({ name: 'portcullis-token', mountPath: '/t' }),
  ],
  [
    'the token in an init container',
    /credential of the sidecar/,
    (p) =>
      p.spec.initContainers.push({
        name: 'i',
        image: 'i',
        volumeMounts: [{ name: 'portcullis-token', mountPath: '/t' }],
      }),
  ],
  [
    'a writable socket in the application',
    /read-only only/,
    (p) => (mountOf(p, 'portcullis-socket').readOnly = false),
  ],
  [
    'a writable socket in an init container',
    /read-only only/,
    (p) =>
      p.spec.initContainers.push({
        name: 'i',
        image: 'i',
        volumeMounts: [{ name: 'portcullis-spiffe', mountPath: '/t' }],
      }),
  ],
  [
    'the network of the node',
    /hostNetwork/,
    (p, s) => {
      p.spec.hostNetwork = true
      s.ports[0].hostPort = undefined
    },
  ],
  ['the second socket where nobody asked', /\[0\]\.args/, (_, s) => s.args.push('--credentials', 'On')],
  [
    'the second socket’s directory where nobody asked',
    /volumeMounts: the sidecar mounts/,
    (p, s) => {
      p.spec.volumes.push(CREDENTIALS)
      s.volumeMounts.push({ name: CREDENTIALS.name, mountPath: '/run/portcullis-credentials' })
    },
  ],
  [
    'a volume of its name where nobody asked',
    /spec\.volumes: portcullis-credentials/,
    (p) => p.spec.volumes.push(CREDENTIALS),
  ],
  [
    'an annotation that names nobody',
    /annotations\[portcullis\.dev\/credentials\]: must name containers of this pod/,
    (p, s) => ask(p, s, 'app,debug'),
  ],
  [
    'an annotation without end',
    /annotations\[portcullis\.dev\/credentials\]: must name containers/,
    (p) => (p.metadata.annotations['portcullis.dev/credentials'] = 'app,'.repeat(300)),
  ],
  [
    'the second socket in a container that did not ask',
    /volumeMounts: portcullis-credentials may be mounted/,
    (p, s) => {
      ask(p, s, 'app')
      p.spec.containers.push({ name: 'other', image: 'i', volumeMounts: [ASKED] })
    },
  ],
  [
    'the second socket in an init container that did not ask',
    /volumeMounts: portcullis-credentials may be mounted/,
    (p, s) => {
      ask(p, s, 'app')
      p.spec.initContainers.push({ name: 'other', image: 'i', volumeMounts: [ASKED] })
    },
  ],
  [
    'the second socket to be written to',
    /volumeMounts: portcullis-credentials may be mounted/,
    (p, s) => {
      ask(p, s, 'app')
      p.spec.containers[0].volumeMounts.push({ ...ASKED, readOnly: false })
    },
  ],
  [
    'a part of the second socket’s directory',
    /volumeMounts: portcullis-credentials may be mounted/,
    (p, s) => {
      ask(p, s, 'app')
      p.spec.containers[0].volumeMounts.push({ ...ASKED, subPath: 'x' })
    },
  ],
  [
    'the second socket on the disk of the node',
    /spec\.volumes: portcullis-credentials/,
    (p, s) => {
      ask(p, s, 'app')
      replace(p, CREDENTIALS.name, { hostPath: { path: '/run' } })
    },
  ],
  [
    'an annotation, and a sidecar that does not listen',
    /\[0\]\.args/,
    (p) => (p.metadata.annotations['portcullis.dev/credentials'] = 'app'),
  ],
  ['the processes of the node', /hostPID/, (p) => (p.spec.hostPID = true)],
  ['one process namespace', /shareProcessNamespace/, (p) => (p.spec.shareProcessNamespace = true)],
]

const CREDENTIALS = { name: 'portcullis-credentials', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }
const ASKED = { name: CREDENTIALS.name, mountPath: '/run/portcullis-credentials', readOnly: true }

// As the injection would do for these names, but for the mounts of who asks.
function ask(pod: Any, sidecar: Any, names: string): void {
  pod.metadata.annotations['portcullis.dev/credentials'] = names
  pod.spec.volumes.push(CREDENTIALS)
  sidecar.args.push('--credentials', 'On')
  sidecar.volumeMounts.push({ name: CREDENTIALS.name, mountPath: ASKED.mountPath })
}

export function projected(audience: string): object {
  return { name: 'second', projected: { sources: [{ serviceAccountToken: { audience, path: 'token' } }] } }
}

function volume(pod: Any, name: string): Any {
  return pod.spec.volumes.find((one: Any) => one.name === name)
}

function token(pod: Any): Any {
  return volume(pod, 'portcullis-token').projected.sources[0].serviceAccountToken
}

function replace(pod: Any, name: string, source: object): void {
  pod.spec.volumes = pod.spec.volumes.map((one: Any) => (one.name === name ? { name, ...source } : one))
}

function mountOf(pod: Any, name: string): Any {
  return pod.spec.containers[0].volumeMounts.find((one: Any) => one.name === name)
}
