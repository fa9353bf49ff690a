/** Who asked for a sidecar: labels decide, annotations never, because the API server can select by labels alone. */

export const INJECT = 'portcullis.dev/inject'

export type Labels = Readonly<Record<string, string>>

/** `why` names the label that decided. `said` is false where no label spoke at all: then nobody needs to be told. */
export interface Wish {
  readonly asked: boolean
  readonly said: boolean
  readonly why: string
}

/** The namespace's `required` is the administrator's and wins; then the pod's own label; then the namespace's. */
export function wishOf(pod: Labels, namespace: Labels): Wish {
  const [own, around] = [pod[INJECT], namespace[INJECT]]
  if (around === 'required') return yes(`the namespace is labelled ${INJECT}=required`)
  if (own === 'enabled') return yes(`the pod is labelled ${INJECT}=enabled`)
  if (own === 'disabled')
    return { asked: false, said: around === 'enabled', why: `the pod is labelled ${INJECT}=disabled` }
  if (around === 'enabled') return yes(`the namespace is labelled ${INJECT}=enabled`)
  return { asked: false, said: false, why: `neither the pod nor its namespace is labelled ${INJECT}=enabled` }
}

function yes(why: string): Wish {
  return { asked: true, said: true, why }
}
