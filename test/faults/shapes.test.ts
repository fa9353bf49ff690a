// D5, G13 to G15: numbers, paths, JSON and tokens in every shape that a lenient reader would take. Against the real program.
import { describe, expect, test } from 'vitest'
import { question } from '../fixtures/question.ts'
import {
  base64,
  forge,
  goodClaims,
  goodHeader,
  noncanonical,
  rawObject,
  unsigned,
} from '../fixtures/tokens.ts'
import { verdictAt } from '../process/asker.ts'
import { OLD, openStage, type Stage } from './stage.ts'

const RSS_BYTES = 48 * 1024 * 1024

interface Shape {
  readonly what: string
  readonly token: string
}

// None passes, a sound one does between any two, and nothing is left of them.
async function refuses(stage: Stage, shapes: readonly Shape[]): Promise<void> {
  const allowed: string[] = []
  const rss = stage.sidecar.rssBytes()
  for (const { what, token } of shapes) {
    if ((await stage.ask(token)) === 'allow') allowed.push(what)
    expect(await stage.ask(OLD)).toBe('allow')
  }
  expect(allowed).toEqual([])
  expect(stage.sidecar.rssBytes() - rss).toBeLessThan(RSS_BYTES)
  await stage.sound()
}

const payload = (over: Readonly<Record<string, string>>): string => {
  const claims = Object.entries(goodClaims()).filter(([name]) => !Object.hasOwn(over, name))
  const members = [
    ...claims.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`),
    ...Object.entries(over).map(([name, text]) => `${JSON.stringify(name)}:${text}`),
  ]
  return `{${members.join(',')}}`
}

test('fault D5: times as float, text, 1e400, negative, in the year 9999, and not as numbers at all', async () => {
  const nowS = Math.floor(Date.now() / 1000)
  const odd = [
    '1e400',
    '-1e400',
    '-1',
    '"4102444800"',
    'null',
    'true',
    '[]',
    '{}',
    `[${nowS + 60}]`,
    '253402300799000',
  ]
  const texts: Readonly<Record<string, readonly string[]>> = {
    exp: [...odd, '253402300799', '0', '9007199254740993'],
    nbf: [...odd.filter((text) => text !== '-1'), '253402300799'],
    iat: [...odd, '253402300799'],
  }
  const shapes = Object.entries(texts).flatMap(([claim, values]) =>
    values.map((text) => ({
      what: `${claim} ${text}`,
      token: forge({ key: OLD, payloadText: payload({ [claim]: text }) }),
    })),
  )
  await using stage = await openStage()
  await refuses(stage, shapes)
})

describe('fault G13: tricks with paths', () => {
  const tricks = [
    '//invoices/inv-1',
    '/invoices//inv-1',
    '/invoices/%2e%2e/admin',
    '/invoices/../admin',
    '/invoices/./inv-1',
    '/invoices%2finv-1',
    '/invoices%2Finv-1',
    '/invoices%5cinv-1',
    '/invoices\\inv-1',
    '/invoices/inv-1;v=1/..;/admin',
    '/invoices/%00',
    '/invoices/\u0000',
    '/invoices/%c0%af',
    '/invoices/%zz',
    'invoices/inv-1',
    'http://other.example/invoices/inv-1',
    '/invoices/inv-1#x',
    '/INVOICES/\u212a',
    ' /invoices/inv-1',
    '/invoices/inv-1\r\nx: y',
  ]
  test('none of them turns a denial into an allowance, or an allowance for one thing into one for another', async () => {
    await using stage = await openStage()
    const foreign = { tenant: 'globex', owner: 'bob' }
    const token = forge({ key: OLD })
    for (const url of tricks) {
      for (const asked of [{ stored: foreign }, { action: 'invoice:nothing' }, { token: '' }])
        expect(await verdictAt(stage.raw, question({ token, url, ...asked })), url).not.toBe('allow')
      // What is stored decides, and the path names nothing: an allowance by it would be one for what the workload has named.
      const verdict = await verdictAt(stage.raw, question({ token, url }))
      expect(await verdictAt(stage.raw, question({ token, url })), url).toBe(verdict)
    }
    await stage.sound()
  })
})

test('fault G14: members twice, in header and claims, plain and escaped', async () => {
  const claims = Object.entries(goodClaims())
  const header = Object.entries(goodHeader(OLD))
  const twice = (members: readonly (readonly [string, unknown])[], spell: (name: string) => string) =>
    members.flatMap(([name, value]) => {
      const text = rawObject(members)
      const again = `${spell(name)}:${JSON.stringify(value)}`
      return [
        { name, text: `${text.slice(0, -1)},${again}}` },
        { name, text: `{${again},${text.slice(1)}` },
      ]
    })
  const plain = (name: string) => JSON.stringify(name)
  const escaped = (name: string) => `"\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}"`
  const shapes = [plain, escaped].flatMap((spell) => [
    ...twice(claims, spell).map(({ name, text }) => ({
      what: name,
      token: forge({ key: OLD, payloadText: text }),
    })),
    ...twice(header, spell).map(({ name, text }) => ({
      what: name,
      token: forge({ key: OLD, headerText: text }),
    })),
  ])
  expect(shapes.length).toBeGreaterThan(40)
  await using stage = await openStage()
  await refuses(stage, shapes)
})

test('fault G15: tokens of 1 MB, with 50 dots, in other alphabets, encrypted, nested, with crit', async () => {
  const good = forge({ key: OLD })
  const [header = '', claims = '', signature = ''] = good.split('.')
  const shapes: readonly Shape[] = [
    { what: '30 KB of claims', token: forge({ key: OLD, claims: { padding: 'x'.repeat(30_000) } }) },
    { what: '50 dots', token: `${good}${'.'.repeat(50)}` },
    { what: '50 segments', token: Array(50).fill(header).join('.') },
    { what: 'two segments', token: `${header}.${claims}` },
    { what: 'four segments', token: `${good}.${signature}` },
    { what: 'no signature', token: `${header}.${claims}.` },
    { what: 'unsigned', token: forge({ key: OLD, header: { alg: 'none' }, sign: unsigned }) },
    { what: 'padding', token: `${header}.${claims}.${signature}==` },
    { what: 'base64', token: forge({ key: OLD, encode: base64 }) },
    { what: 'unused bits', token: `${header}.${claims}.${noncanonical(signature)}` },
    { what: 'JWE', token: 'eyJhbGciOiJQQkVTMi1IUzUxMitBMjU2S1ciLCJwMmMiOjIwMDAwMDAwMDB9.a.b.c.d' },
    { what: 'zip', token: forge({ key: OLD, header: { zip: 'DEF' } }) },
    { what: 'enc', token: forge({ key: OLD, header: { enc: 'A256GCM' } }) },
    { what: 'nested', token: forge({ key: OLD, header: { cty: 'JWT' }, payloadText: good }) },
    { what: 'nested, as JSON', token: forge({ key: OLD, payloadText: JSON.stringify(good) }) },
    { what: 'crit exp', token: forge({ key: OLD, header: { crit: ['exp'], exp: 1 } }) },
    { what: 'crit b64', token: forge({ key: OLD, header: { crit: ['b64'], b64: false } }) },
    { what: 'crit empty', token: forge({ key: OLD, header: { crit: [] } }) },
    {
      what: 'deep',
      token: forge({ key: OLD, claims: { deep: JSON.parse(`${'['.repeat(500)}${']'.repeat(500)}`) } }),
    },
  ]
  await using stage = await openStage()
  await refuses(stage, shapes)
  // Larger than a question may be at all: refused before it is read as one.
  const huge = await stage.raw.check(question({ token: 'x'.repeat(1_000_000) }), { deadlineMs: 10_000 })
  expect('status' in huge && huge.status.code).not.toBe(0)
  expect(await stage.ask(OLD)).toBe('allow')
  await stage.sound()
})
