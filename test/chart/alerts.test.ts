import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { tool } from '../cluster-node/tool.ts'
import { ALERT_CASES, RECORDED, type Series } from './alert-cases.ts'
import { type Manifest, named, rendered, run } from './helm.ts'

// Every rule of the chart, as Prometheus itself evaluates it (promtool test rules).

const ENABLED = ['--set', 'metrics.prometheusRule.enabled=true', '--api-versions', 'monitoring.coreos.com/v1']
let promtool: string
let directory: string
let spec: Manifest
beforeAll(async () => {
  promtool = await tool('promtool')
  directory = mkdtempSync(join(tmpdir(), 'portcullis-alerts-'))
  spec = named(await rendered(...ENABLED), 'PrometheusRule', 'portcullis').spec
  writeFileSync(join(directory, 'rules.yaml'), stringify(spec))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const rules = (): readonly Manifest[] => spec.groups.flatMap((group: Manifest) => group.rules)

/** What an expression must be after a world was told; `undefined`: nothing at all. */
interface Expected {
  readonly name: string
  readonly world: Series
  readonly expression: string
  readonly value: number | undefined
  readonly at: string
}

async function evaluate(
  cases: readonly Expected[],
): Promise<{ readonly code: number; readonly said: string }> {
  const file = join(directory, 'cases.yaml')
  const tests = cases.map(({ name, world, expression, value, at }) => ({
    name,
    interval: '1m',
    input_series: world.map(([series, values]) => ({ series, values })),
    promql_expr_test: [
      { expr: expression, eval_time: at, exp_samples: value === undefined ? [] : [{ labels: '{}', value }] },
    ],
  }))
  writeFileSync(file, stringify({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }))
  const { code, out, err } = await run(promtool, ['test', 'rules', file])
  return { code, said: out + err }
}

const firing = (alert: string) => `count(ALERTS{alertname="${alert}",alertstate="firing"})`
const cases: readonly Expected[] = Object.entries(ALERT_CASES).flatMap(
  ([alert, { fires, silent, times = 1, at = '30m' }]) => [
    { name: `${alert} fires`, world: fires, expression: firing(alert), value: times, at },
    { name: `${alert} is silent`, world: silent, expression: firing(alert), value: undefined, at },
  ],
)

describe('000-17 to 000-22: the alerts', () => {
  test('each has a world in which it fires and one in which it does not', () => {
    const alerts = rules().flatMap(({ alert }) => alert ?? [])
    expect(alerts.length).toBeGreaterThan(20)
    expect(Object.keys(ALERT_CASES).toSorted()).toEqual(alerts.toSorted())
  })

  test('fire and stay silent as their worlds say', async () => {
    expect(await evaluate(cases)).toMatchObject({ code: 0, said: expect.stringContaining('SUCCESS') })
  })

  test.each(cases)('$name: and promtool would notice the contrary', async (one) => {
    const value = one.value === undefined ? 1 : undefined
    expect(await evaluate([{ ...one, value }])).toMatchObject({
      code: 1,
      said: expect.stringContaining('FAILED'),
    })
  })
})

describe('000-19: numbers that are kept', () => {
  const recorded: readonly Expected[] = Object.entries(RECORDED).map(([name, [world, value]]) => ({
    name,
    world,
    expression: `round(sum(${name}), 0.001)`,
    value,
    at: '30m',
  }))

  test('each has a world that says what it is', () => {
    expect(Object.keys(RECORDED).toSorted()).toEqual(
      rules()
        .flatMap(({ record }) => record ?? [])
        .toSorted(),
    )
  })

  test('are what their worlds say', async () => {
    expect(await evaluate(recorded)).toMatchObject({ code: 0, said: expect.stringContaining('SUCCESS') })
  })
})
