import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { askable, metricsIn } from './reference/exposed.ts'

// Alerts, runbook and dashboard speak of what the programs really tell. How the alerts behave is shown by test/chart/alerts.test.ts.

const ROOT = join(import.meta.dirname, '..')
const textOf = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const TEMPLATES = ['_alerts', '_token-alerts']
  .map((name) => textOf(`charts/portcullis/templates/${name}.tpl`))
  .join('\n')
const ALERTS = [...TEMPLATES.matchAll(/- alert: (\w+)/g)].map(([, name = '']) => name)
const RECORDS = [...TEMPLATES.matchAll(/- record: (\S+)/g)].map(([, name = '']) => name)

describe('rules of the chart', () => {
  const expressions = [...TEMPLATES.matchAll(/^( +)expr: >-\n((?:\1 {2}.*\n)+)/gm)].map(
    ([, , text = '']) => text,
  )

  test('ask for metrics that the programs have, or that another rule keeps', async () => {
    const known = new Set([...(await askable()), ...RECORDS])
    expect(expressions.length).toBe(ALERTS.length + RECORDS.length)
    const asked = expressions.flatMap(metricsIn)
    expect(asked.filter((name) => !known.has(name))).toEqual([])
  })

  test('000-17 to 000-22: each metric by which an operator judges tokens has an alert or a kept number', () => {
    const asked = new Set(expressions.flatMap(metricsIn))
    for (const name of [
      'refresh_replay_detected_total',
      'id_token_validation_failure_total',
      'access_token_validation_failure_total',
      'token_introspection_latency_seconds_bucket',
      'jwks_cache_lookups_total',
      'jwks_key_used_early_total',
      'dpop_proof_failure_total',
      'token_request_total',
      'refresh_family_age_seconds_bucket',
      'token_multi_audience_total',
      'token_cache_lookups_total',
      'token_cache_divergence_total',
      'revocation_propagation_seconds_bucket',
      'replay_store_state',
    ])
      expect(asked, name).toContain(name)
  })
})

describe('the runbook', () => {
  const pages = globSync('docs/runbook/*.md', { cwd: ROOT }).filter((path) => !path.endsWith('README.md'))

  test('has a page for each alert, and no other', () => {
    expect(pages.map((path) => basename(path, '.md')).toSorted()).toEqual(ALERTS.toSorted())
  })

  test.each(pages)('%s says what, what harm, where to look, and ends in a command', (path) => {
    const page = textOf(path)
    expect(page).toMatch(new RegExp(`^# ${basename(path, '.md')}\n\n[A-Z].*\n\n\\*\\*Harm\\.\\*\\* `))
    expect(page).toMatch(/\n\*\*Look\.\*\*\n\n- /)
    expect(page).toMatch(/\n\*\*Do\.\*\* .+\n\n```sh\n(?:kubectl|redis-cli) [^\n]+\n```\n$/)
  })

  test('000-31 to 000-35: begins with every alert, and ends with the six steps when tokens fail', () => {
    const page = textOf('docs/runbook/README.md')
    const rows = [...page.matchAll(/^\| \[(\w+)\]\((\w+)\.md\) \| `(\w+)` \|/gm)]
    expect(rows.map(([, alert]) => alert).toSorted()).toEqual(ALERTS.toSorted())
    expect(rows.filter(([, alert, file]) => alert !== file)).toEqual([])
    const steps = page.slice(page.indexOf('## Tokens fail: six steps'))
    expect([...steps.matchAll(/^\| (\d) \| /gm)].map(([, step]) => step)).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
    ])
    for (const word of [
      'reason',
      'sig_invalid',
      'kid_unknown',
      'jwks_cache_hit_ratio',
      'KeysChanged',
      'refresh-now',
    ])
      expect(steps).toContain(word)
  })

  test('links lead somewhere', () => {
    for (const path of [...pages, 'docs/runbook/README.md'])
      for (const [, target = ''] of textOf(path).matchAll(/\]\(([^)#]*)(?:#[^)]*)?\)/g))
        expect(globSync(join('docs/runbook', target), { cwd: ROOT }), `${path}: ${target}`).toHaveLength(1)
  })
})

describe('the dashboard', () => {
  interface Panel {
    readonly id: number
    readonly type: string
    readonly title: string
    readonly targets?: readonly { readonly expr: string; readonly refId: string }[]
  }
  const dashboard: { readonly panels: readonly Panel[] } = JSON.parse(
    textOf('charts/portcullis/dashboards/tokens.json'),
  )
  const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))

  test('draws metrics that the programs have, or that a rule keeps', async () => {
    const known = new Set([...(await askable()), ...RECORDS])
    expect(expressions.length).toBeGreaterThan(20)
    expect(expressions.flatMap(metricsIn).filter((name) => !known.has(name))).toEqual([])
  })

  test('has panels that differ in id and have something to draw', () => {
    const ids = dashboard.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    const drawn = dashboard.panels.filter(({ type }) => type !== 'row')
    expect(drawn.filter(({ targets }) => !targets?.length)).toEqual([])
  })

  test('000-32: has the six steps of the runbook as its first row', () => {
    const [first, ...rest] = dashboard.panels
    expect(first?.title).toBe('Tokens fail: six steps')
    const row = rest.slice(
      0,
      rest.findIndex(({ type }) => type === 'row'),
    )
    expect([...new Set(row.flatMap(({ title }) => title.match(/\d/g) ?? []))]).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
    ])
  })
})
