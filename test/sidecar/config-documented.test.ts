// docs/configuration.md has every member that a file may have: what the reader knows is asked of the reader itself.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { GOOD, parse, problemsOf } from './configs.ts'

const ROOT = join(import.meta.dirname, '../..')
const rows = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .map((line) => line.split('|')[1] ?? '')

const redis = { mode: 'standalone', nodes: ['redis:6379'] }
test.each([
  ['listen', { listen: 'x' }],
  ['admin', { admin: 'x' }],
  ['tokens', { tokens: 'x' }],
  ['client', { client: 'x' }],
  ['redis', { redis: 'x' }],
  ['redis.tls', { redis: { ...redis, tls: 'x' } }],
  ['policy', { policy: 'x' }],
  ['limits', { limits: 'x' }],
  ['log', { log: 'x' }],
])('members of %s', (section, tree) => {
  const [, names = ''] =
    /: expected a mapping with some of: (.*)/.exec(problemsOf(parse({ ...GOOD, ...tree })).join('\n')) ?? []
  const members = names.split(', ')
  expect(members).not.toEqual([''])
  // Limits have a table of their own.
  const named = (member: string) => (section === 'limits' ? `\`${member}\`` : `\`${section}.${member}\``)
  const missing = members.filter((member) => !rows.some((row) => row.includes(named(member))))
  expect(missing).toEqual([])
})
