import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { createClientFiles } from '../../../sidecar/grants/client-files.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'
import { makePair } from '../../process/asking-ground.ts'

// A certificate and its key in files that somebody else renews.

const directory = tempDirectory('client-files')
afterAll(() => forget(directory))
const first = makePair(directory, 'first', 'URI:spiffe://test.example/first')
const second = makePair(directory, 'second', 'URI:spiffe://test.example/second')
const unnamed = makePair(directory, 'unnamed', 'DNS:workload.example')
const twice = makePair(directory, 'twice', 'URI:spiffe://test.example/a,URI:spiffe://test.example/b')

function open() {
  const files = { certificate: join(directory, 'tls.crt'), key: join(directory, 'tls.key') }
  const problems: string[] = []
  let now = 0
  const credential = createClientFiles(
    files,
    () => now,
    (_event, facts) => problems.push(String(facts?.['problem'])),
  )
  return {
    files,
    problems,
    use: (pair: { certificate: string; key: string }) => {
      copyFileSync(pair.certificate, files.certificate)
      copyFileSync(pair.key, files.key)
    },
    id: async () => {
      now += 1_000
      return (await credential())?.spiffeId
    },
    soon: async () => (await credential())?.spiffeId,
  }
}

test('what is renewed is used within a second', async () => {
  const { use, id, soon } = open()
  use(first)
  expect(await id()).toBe('spiffe://test.example/first')
  use(second)
  expect(await soon()).toBe('spiffe://test.example/first')
  expect(await id()).toBe('spiffe://test.example/second')
})

test('while only one of the two was replaced, the pair before stays in use', async () => {
  const { use, id, files, problems } = open()
  use(first)
  await id()
  copyFileSync(second.certificate, files.certificate)
  expect(await id()).toBe('spiffe://test.example/first')
  expect(problems).toEqual(['the client certificate and the client key do not belong together'])
  copyFileSync(second.key, files.key)
  expect(await id()).toBe('spiffe://test.example/second')
})

test('what cannot be read is told without a word of what it holds', async () => {
  const { use, id, files, problems } = open()
  use(first)
  writeFileSync(files.key, 'not a key: hunter2')
  expect(await id()).toBeUndefined()
  writeFileSync(files.certificate, Buffer.alloc(70_000, 0x41))
  expect(await id()).toBeUndefined()
  expect(problems).toHaveLength(2)
  expect(problems.join()).not.toContain('hunter2')
})

test.each([
  ['no SPIFFE ID', unnamed],
  ['two of them', twice],
])('a certificate with %s names nobody', async (_name, pair) => {
  const { use, id } = open()
  use(pair)
  expect(await id()).toBe('')
})
