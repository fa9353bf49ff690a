import type { Mount, Named, Pod } from './pod.ts'

/**
 * The socket on which credentials are handed out (refresh families, token exchange) has a directory of its own, and whoever has it
 * mounted may ask: so it is mounted into the containers that the pod's annotation names, and into no other. Without the annotation the
 * sidecar does not even listen there. The guard (charts/portcullis/templates/admission/guard.yaml) demands the very same.
 */
export const CREDENTIALS = 'portcullis.dev/credentials'
export const CREDENTIALS_VOLUME = 'portcullis-credentials'
const PLACE = '/run/portcullis-credentials'

export const CREDENTIALS_ARGS = ['--credentials', 'On'] as const
export const CREDENTIALS_MOUNT = {
  /** Of the sidecar. */
  own: { name: CREDENTIALS_VOLUME, mountPath: PLACE },
  /** Of who asked for it. */
  asked: { name: CREDENTIALS_VOLUME, mountPath: PLACE, readOnly: true },
} as const satisfies Readonly<Record<string, Mount>>
export const CREDENTIALS_ENV: Named = {
  name: 'PORTCULLIS_CREDENTIALS_TARGET',
  value: `unix://${PLACE}/credentials.sock`,
}

const MOST = 16

/** Names of the containers that shall have it; empty for none. */
export function askersIn({ metadata }: Pod): readonly string[] {
  const text = metadata.annotations[CREDENTIALS]
  return text === undefined || text === '' ? [] : text.split(',')
}

/** What is wrong with the annotation. A name that is nobody's now would be that of a container somebody adds later. */
export function askersProblems(pod: Pod, sidecar: string): readonly string[] {
  const { containers, initContainers = [] } = pod.spec
  const names = new Set([...containers, ...initContainers].map(({ name }) => name))
  const askers = askersIn(pod)
  const at = `metadata.annotations[${CREDENTIALS}]`
  if (askers.length > MOST) return [`${at}: names more than ${MOST} containers; name those that need it`]
  return askers.flatMap((name) => {
    if (name === sidecar) return [`${at}: "${sidecar}" is the sidecar itself; take it out`]
    if (names.has(name)) return []
    return [
      `${at}: there is no container "${name.slice(0, 63)}" in this pod; write names of its containers with a comma and no blank between them`,
    ]
  })
}
