import { DECLARED } from '../../operator/record/declared.ts'
import { createMetrics as createOperatorMetrics } from '../../operator/record/metrics.ts'
import { createMetrics } from '../../sidecar/record/metrics.ts'
import { READINGS } from '../sidecar/record/readings.ts'

/** A metric as one of the programs tells it to whoever scrapes. */
export interface Exposed {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly labels: readonly string[]
}

export async function sidecarMetrics(): Promise<readonly Exposed[]> {
  return read(await createMetrics(READINGS).text(), {})
}

// A counter that was never counted has no series yet, so its labels come from where it is declared.
export async function operatorMetrics(): Promise<readonly Exposed[]> {
  return read(await createOperatorMetrics(DECLARED).text(), DECLARED)
}

function read(
  text: string,
  declared: Readonly<Record<string, { readonly labels: readonly string[] }>>,
): readonly Exposed[] {
  const types = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  )
  return [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name = '', help = '']) => ({
    name,
    help,
    type: types.get(name) ?? '',
    labels: declared[name]?.labels ?? labelsIn(text, name),
  }))
}

function labelsIn(text: string, name: string): readonly string[] {
  const found = [...text.matchAll(new RegExp(`^${name}(?:_bucket|_sum|_count)?\\{(.*)\\} `, 'gm'))].flatMap(
    ([, labels = '']) => [...labels.matchAll(/(\w+)="/g)].map(([, label = '']) => label),
  )
  return [...new Set(found)].filter((label) => label !== 'le').toSorted()
}

/** Every name that can be asked for: those of a histogram with what Prometheus adds to them. */
export async function askable(): Promise<ReadonlySet<string>> {
  const all = [...(await sidecarMetrics()), ...(await operatorMetrics())]
  return new Set(
    all.flatMap(({ name, type }) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => `${name}${end}`) : [name],
    ),
  )
}

const WORDS = new Set(
  'sum min max count by on and or group_left histogram_quantile rate increase changes time absent'.split(' '),
)

/** The metrics that an expression of Prometheus names. */
export function metricsIn(expression: string): readonly string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{\{.*?\}\}/g, '')
    .replaceAll(/\{[^}]*\}/g, '')
    .replaceAll(/\[[^\]]*\]/g, '')
    .replaceAll(/\b(?:by|on|group_left) \([^)]*\)/g, '')
  return [...bare.matchAll(/[a-z_][a-z0-9_:]*/gi)].map(([name]) => name).filter((name) => !WORDS.has(name))
}
