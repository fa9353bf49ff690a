import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ChildResult } from './child.ts'
import type { PolicySources } from './policy-tree.ts'
import { type Problem, problemsIn, refused } from './problems.ts'

/** A question and the verdict of OPA's own evaluator: what every sidecar's evaluator must give, too, before it uses the bundle. */
export interface Vector {
  readonly name: string
  readonly input: object
  readonly want: unknown
}

type Opa = (args: readonly string[]) => Promise<ChildResult>

const ACTIONS = 24
const NOW = 1_790_000_000

/** Asks OPA's evaluator about every action that the rules name, as owner, as colleague and as a machine. */
export async function vectorsOf(
  sources: PolicySources,
  opa: Opa,
  place: string,
  entrypoint: string,
): Promise<readonly Vector[] | Problem> {
  const questions = questionsOf(sources)
  await mkdir(join(place, 'probe'), { recursive: true })
  await writeFile(join(place, 'probe/probe.rego'), probeModule(`data.${entrypoint.replaceAll('/', '.')}`))
  await writeFile(
    join(place, 'probe/data.json'),
    JSON.stringify({ probe_inputs: questions.map(({ input }) => input) }),
  )
  const loaded = ['source', 'settings', 'probe'].flatMap((path) => ['--data', path])
  const result = await opa(['eval', '--format', 'json', ...loaded, 'data.probe.answers'])
  if (result.code !== 0) return problemsIn(result, 'opa eval')[0] ?? refused('opa eval failed')
  const answers = answersIn(result.stdout)
  const vectors = questions.flatMap(({ name, input }, at) => {
    const want = answers[String(at)]
    return want === undefined ? [] : [{ name, input, want }]
  })
  return vectors.length === questions.length
    ? vectors
    : refused('a question has no verdict: the rules contradict each other')
}

// A module and not a query on the command line, where `with input as` inside a comprehension is ignored (seen with 1.22.2).
function probeModule(verdict: string): string {
  return `package probe

answers[i] := got if {
	some i, question in data.probe_inputs
	got := ${verdict} with input as question
}
`
}

function answersIn(stdout: string): Readonly<Record<string, unknown>> {
  const { result } = JSON.parse(stdout) as {
    readonly result?: readonly { readonly expressions?: readonly { readonly value?: unknown }[] }[]
  }
  return (result?.[0]?.expressions?.[0]?.value ?? {}) as Readonly<Record<string, unknown>>
}

interface Question {
  readonly name: string
  readonly input: object
}

interface Caller {
  readonly who: string
  readonly id: string
  readonly kind: 'user' | 'machine'
}
const CALLERS: readonly Caller[] = [
  { who: 'the owner', id: 'alice', kind: 'user' },
  { who: 'a colleague', id: 'bob', kind: 'user' },
  { who: 'a machine', id: 'batch', kind: 'machine' },
]

function questionsOf({ modules }: PolicySources): readonly Question[] {
  const named = [...modules.values()].flatMap((rego) => [
    ...rego.matchAll(/"([a-z][\w.-]*:[\w.*-]{1,64})"/gi),
  ])
  const actions = new Set(['probe:read', ...named.map(([, action = '']) => action)])
  return [...actions]
    .sort()
    .slice(0, ACTIONS)
    .flatMap((action) => CALLERS.map((caller) => question(action, caller)))
}

function question(action: string, { who, id, kind }: Caller): Question {
  const issuer = 'https://id.example'
  const subject = {
    id,
    tenant: 'acme',
    kind,
    client_id: kind === 'machine' ? id : 'web',
    issuer,
    roles: [],
    scopes: [action],
    acr: 'urn:example:strong',
    auth_time: NOW - 60,
    amr: ['pwd'],
    confirmation: 'dpop',
    ...(kind === 'machine' ? {} : { actor: { id: 'assistant', issuer } }),
  }
  const stored = {
    type: action.split(':', 1)[0] ?? 'probe',
    id: '1',
    tenant: 'acme',
    owner: 'alice',
    attributes: {},
  }
  return {
    name: `${action} by ${who}`,
    input: {
      version: 1,
      now: NOW,
      subject,
      token: { sub: id, iss: issuer },
      authorization_details: [{ type: 'probe', actions: [action] }],
      action,
      http: { method: 'GET', url: 'https://api.example/' },
      resource: { stored, request: {} },
    },
  }
}
