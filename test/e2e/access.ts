import type { World } from './world.ts'

// Who may do what, asked of the API server itself, for everybody that its rules know.

export interface Subject {
  readonly user: string
  readonly groups: readonly string[]
}

export interface Right {
  readonly verb: string
  readonly resource: string
  readonly namespace: string
  readonly group?: string
  readonly subresource?: string
  readonly name?: string
}

interface Listed<T> {
  readonly items: readonly T[]
}
interface Binding {
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[]
}
interface Account {
  readonly metadata: { readonly name: string; readonly namespace: string }
}

/** Every service account, every user and group that a binding names, the node, and whoever has no name. */
export async function subjectsOf(world: World): Promise<readonly Subject[]> {
  const list = async <T>(kind: string) =>
    (JSON.parse(await world.kubectl(['get', kind, '-A', '-o', 'json'])) as Listed<T>).items
  const accounts = (await list<Account>('serviceaccounts')).map(({ metadata }) =>
    account(metadata.namespace, metadata.name),
  )
  const bindings = [...(await list<Binding>('clusterrolebindings')), ...(await list<Binding>('rolebindings'))]
  const named = bindings
    .flatMap(({ subjects = [] }) => subjects)
    .map(({ kind, name, namespace = '' }): Subject => {
      if (kind === 'ServiceAccount') return account(namespace, name)
      return kind === 'User'
        ? { user: name, groups: ['system:authenticated'] }
        : { user: `anyone in ${name}`, groups: [name, 'system:authenticated'] }
    })
  const others: readonly Subject[] = [
    { user: `system:node:${world.cluster.name}`, groups: ['system:nodes', 'system:authenticated'] },
    { user: 'system:anonymous', groups: ['system:unauthenticated'] },
    { user: 'somebody', groups: ['system:authenticated'] },
  ]
  const all = [...accounts, ...named, ...others]
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()]
}

function account(namespace: string, name: string): Subject {
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated']
  return { user: `system:serviceaccount:${namespace}:${name}`, groups }
}

interface Reviewed {
  readonly spec: { readonly user: string; readonly resourceAttributes: Right }
  readonly status?: { readonly allowed?: boolean }
}

/** Names of the subjects that have any of these rights, sorted; by SubjectAccessReviews. */
export async function holdersOf(
  world: World,
  subjects: readonly Subject[],
  rights: readonly Right[],
): Promise<readonly string[]> {
  const items = subjects.flatMap(({ user, groups }) =>
    rights.map((resourceAttributes) => ({
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user, groups, resourceAttributes },
    })),
  )
  const list = { apiVersion: 'v1', kind: 'List', items }
  const text = await world.cluster.kubectl(['create', '-f', '-', '-o', 'json'], {
    stdin: JSON.stringify(list),
    timeoutMs: 240_000,
  })
  // One document after the other.
  const answers = text.split(/^(?=\{)/m).map((one) => JSON.parse(one) as Reviewed)
  if (answers.length !== items.length)
    throw new Error(`${answers.length} answers to ${items.length} questions`)
  const allowed = answers.filter(({ status }) => status?.allowed === true)
  return [...new Set(allowed.map(({ spec }) => spec.user))].toSorted()
}
