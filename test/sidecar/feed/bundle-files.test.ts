// Bundles as directories and as archives: what the real tar writes is read, what an attacker writes is refused.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ARCHIVE_LIMITS } from '../../../contracts/archive.ts'
import { fingerprint, readBundle } from '../../../sidecar/feed/bundle-files.ts'
import { POLICY } from '../../fixtures/pipeline.ts'
import { forget, tempDirectory } from '../../fixtures/process.ts'
import { archive, type Entry, header } from './tar.ts'

let directory: string

beforeEach(() => {
  directory = tempDirectory('bundle')
})
afterEach(() => forget(directory))

const at = (name: string) => join(directory, name)

async function read(path: string): Promise<string> {
  return readBundle(path).then(
    (files) => `read ${[...files.keys()].sort().join(' ')}`,
    (cause: unknown) => (cause instanceof Error ? cause.message.replace(directory, '') : String(cause)),
  )
}

function packed(entries: readonly Entry[]): string {
  writeFileSync(at('x.tar.gz'), gzipSync(archive(entries)))
  return at('x.tar.gz')
}

const NAMES = '.manifest data.json plan.json policy.wasm selftest.json'

test.each([
  ['its default format', []],
  ['the ustar format', ['--format=ustar']],
  ['the v7 format', ['--format=v7']],
  ['the GNU format', ['--format=gnu']],
])('what tar writes in %s is read, and equals the directory', async (_what, options) => {
  const flags = [...options, '--numeric-owner', '--owner=0', '--group=0']
  execFileSync('tar', [...flags, '-czf', at('x.tar.gz'), '-C', POLICY.invoices, '.'])
  const [fromTar, fromDirectory] = [await readBundle(at('x.tar.gz')), await readBundle(POLICY.invoices)]
  expect([...fromTar.keys()].sort().join(' ')).toBe(NAMES)
  expect(new Map([...fromTar].sort())).toEqual(new Map([...fromDirectory].sort()))
})

test('names without a leading dot are read as well', async () => {
  execFileSync('tar', ['-czf', at('x.tar.gz'), '-C', POLICY.invoices, '.manifest', 'policy.wasm'])
  expect(await read(at('x.tar.gz'))).toBe('read .manifest policy.wasm')
})

test('a mounted ConfigMap, whose files are links and whose bookkeeping begins with two dots, is read', async () => {
  cpSync(POLICY.invoices, at('..2024_01_01'), { recursive: true })
  symlinkSync('..2024_01_01', at('..data'))
  for (const name of NAMES.split(' ')) symlinkSync(join('..data', name), at(name))
  expect(await read(directory)).toBe(`read ${NAMES}`)
})

test('a trailing slash of the directory does not change names', async () => {
  expect(await read(`${POLICY.invoices}/`)).toBe(`read ${NAMES}`)
})

const FILE: Entry = { name: 'data.json', content: '{}' }
const NOT_PLAIN = '/x.tar.gz: holds something that is not a plain file'
const BAD_NAME = '/x.tar.gz: a name is not allowed'
const CLIMBS = '/x.tar.gz: a name climbs out of the bundle'

test.each<readonly [what: string, entries: readonly Entry[], want: string]>([
  ['a plain file', [FILE], 'read data.json'],
  ['a file of the old flag', [{ ...FILE, flag: '\0' }], 'read data.json'],
  [
    'a file under a directory',
    [
      { name: 'a/', flag: '5' },
      { ...FILE, name: 'a/data.json' },
    ],
    'read a/data.json',
  ],
  ['a name with a prefix', [{ ...FILE, prefix: 'a/b' }], 'read a/b/data.json'],
  ['a leading ./', [{ ...FILE, name: './data.json' }], 'read data.json'],
  ['a leading slash', [{ ...FILE, name: '/etc/passwd' }], 'read etc/passwd'],
  ['nothing', [], 'read '],
  ['a climbing name', [{ ...FILE, name: '../data.json' }], CLIMBS],
  ['a name that climbs later', [{ ...FILE, name: 'a/../../data.json' }], CLIMBS],
  ['a climbing prefix', [{ ...FILE, prefix: '..' }], CLIMBS],
  ['a climbing directory', [{ name: '../a/', flag: '5' }], CLIMBS],
  ['a backslash in a name', [{ ...FILE, name: 'a\\data.json' }], BAD_NAME],
  ['an empty name', [{ ...FILE, name: '' }], BAD_NAME],
  ['a name with a blank', [{ ...FILE, name: 'data .json' }], BAD_NAME],
  ['a name beyond ASCII', [{ ...FILE, name: 'dätä.json' }], BAD_NAME],
  ['a name with two slashes', [{ ...FILE, name: 'a//data.json' }], BAD_NAME],
  ['a file twice', [FILE, FILE], '/x.tar.gz: data.json is there twice'],
  [
    'a file twice, spelt differently',
    [FILE, { ...FILE, name: './data.json' }],
    '/x.tar.gz: data.json is there twice',
  ],
  ['a hard link', [{ name: 'data.json', flag: '1', link: '/etc/passwd' }], NOT_PLAIN],
  ['a symbolic link', [{ name: 'data.json', flag: '2', link: '/etc/passwd' }], NOT_PLAIN],
  ['a character device', [{ name: 'data.json', flag: '3' }], NOT_PLAIN],
  ['a block device', [{ name: 'data.json', flag: '4' }], NOT_PLAIN],
  ['a pipe', [{ name: 'data.json', flag: '6' }], NOT_PLAIN],
  ['a GNU long name', [{ name: '././@LongLink', flag: 'L', content: 'x' }], NOT_PLAIN],
  ['a pax header', [{ name: 'pax', flag: 'x', content: '20 path=../../evil\n' }], NOT_PLAIN],
  ['a global pax header', [{ name: 'pax', flag: 'g', content: 'x' }], NOT_PLAIN],
  ['a sparse file', [{ name: 'data.json', flag: 'S' }], NOT_PLAIN],
  ['a negative size', [{ ...FILE, size: '-1' }], '/x.tar.gz: damaged tar header'],
  ['a size that is no number', [{ ...FILE, size: 'zz' }], '/x.tar.gz: damaged tar header'],
  ['a size in binary', [{ ...FILE, size: '\x80\x00\x00\x00' }], '/x.tar.gz: damaged tar header'],
  ['a wrong checksum', [{ ...FILE, checksum: '000000' }], '/x.tar.gz: damaged tar header'],
  ['a size beyond the end', [{ ...FILE, size: '77777777777' }], '/x.tar.gz: data.json is cut off'],
])('an archive with %s: %s', async (_what, entries, want) => {
  expect(await read(packed(entries))).toBe(want)
})

test.each([
  [64, 'read '],
  [65, '/x.tar.gz: more than 64 files'],
])('an archive of %i files: %s', async (count, want) => {
  const entries = Array.from({ length: count }, (_, index) => ({ ...FILE, name: `f${index}` }))
  expect((await read(packed(entries))).startsWith(want)).toBe(true)
})

test('every truncation of an archive is noticed, packed or unpacked', async () => {
  const tar = archive([FILE, { name: 'b', content: 'x'.repeat(600) }])
  for (let length = 0; length < tar.length - 1024; length += 128) {
    writeFileSync(at('x.tar.gz'), gzipSync(tar.subarray(0, length)))
    expect(await read(at('x.tar.gz')), `${length}`).toMatch(/cut off/)
  }
  const gz = gzipSync(tar)
  for (let length = 0; length < gz.length; length += 7) {
    writeFileSync(at('x.tar.gz'), gz.subarray(0, length))
    expect(await read(at('x.tar.gz')), `${length}`).toMatch(/not gzip, damaged|cut off/)
  }
})

test('an archive of another kind, or none, is refused', async () => {
  for (const bytes of [Buffer.alloc(0), archive([FILE]), Buffer.from('PK\x03\x04'), Buffer.from('{}')]) {
    writeFileSync(at('x.tar.gz'), bytes)
    expect(await read(at('x.tar.gz'))).toMatch(/not gzip, damaged|cut off/)
  }
})

test('a changed bit in the packed bytes is noticed, or changes nothing', async () => {
  const gz = gzipSync(archive([FILE, { name: 'b', content: 'x'.repeat(600) }]))
  const want = new Map([
    ['data.json', '{}'],
    ['b', 'x'.repeat(600)],
  ])
  for (let i = 0; i < gz.length; i++) {
    const bent = Buffer.from(gz)
    bent[i] = (bent[i] ?? 0) ^ 0x10
    writeFileSync(at('x.tar.gz'), bent)
    const files = await readBundle(at('x.tar.gz')).catch(() => undefined)
    if (files) expect(new Map([...files].map(([name, content]) => [name, content.toString()]))).toEqual(want)
  }
})

test('a bomb is stopped while it unpacks', async () => {
  writeFileSync(at('x.tar.gz'), gzipSync(Buffer.alloc(ARCHIVE_LIMITS.bytes + 1)))
  expect(await read(at('x.tar.gz'))).toContain(`more than ${ARCHIVE_LIMITS.bytes} bytes unpacked`)
})

test('an archive of more than 16 MiB is not unpacked at all', async () => {
  writeFileSync(at('x.tar.gz'), '')
  truncateSync(at('x.tar.gz'), ARCHIVE_LIMITS.packedBytes + 1)
  expect(await read(at('x.tar.gz'))).toContain(
    `/x.tar.gz: larger than the ${ARCHIVE_LIMITS.packedBytes} bytes`,
  )
})

test.each<readonly [what: string, spoil: () => unknown, want: RegExp]>([
  ['that is not there', () => rmSync(at('b'), { recursive: true }), /no such bundle directory or \.tar\.gz/],
  [
    'with a directory in it',
    () => mkdirSync(at('b/sub')),
    /\/b\/sub: not a regular file; a bundle is a flat directory/,
  ],
  ['with a link to a directory', () => symlinkSync('/', at('b/sub')), /\/b\/sub: not a regular file/],
  ['with a device', () => symlinkSync('/dev/zero', at('b/data.json')), /\/b\/data\.json: not a regular file/],
  ['with a broken link', () => symlinkSync('nowhere', at('b/data.json')), /ENOENT/],
  ['with 65 files', () => many(65), /\/b: more than 64 files/],
  ['of more than 48 MiB', () => sparse('b/data.json', ARCHIVE_LIMITS.bytes + 1), /\/b\/.*: larger than/],
  [
    'of several files of more than 48 MiB together',
    () => ['1', '2', '3'].map((name) => sparse(`b/${name}`, 20_000_000)),
    /\/b\/.*: larger than/,
  ],
])('a directory %s is refused', async (_what, spoil, want) => {
  mkdirSync(at('b'))
  spoil()
  expect(await read(at('b'))).toMatch(want)
})

test('the fingerprint changes with a name, a size, a time or a replaced file, and with nothing else', async () => {
  mkdirSync(at('b'))
  writeFileSync(at('b/one'), 'a')
  const marks = [await fingerprint(at('b'))]
  expect(await fingerprint(at('b'))).toBe(marks[0])
  const changes = [
    () => writeFileSync(at('b/two'), ''),
    () => writeFileSync(at('b/one'), 'ab'),
    () => utimesSync(at('b/one'), 1, 1),
    () => rmSync(at('b/two')),
  ]
  for (const change of changes) {
    change()
    marks.push(await fingerprint(at('b')))
  }
  expect(new Set(marks).size).toBe(marks.length)
  await expect(fingerprint(at('nowhere'))).rejects.toThrow('no such bundle')
})

test('the tar writer of this test writes what the real tar reads', () => {
  writeFileSync(at('x.tar'), archive([FILE, { name: 'b', prefix: 'a', content: 'x' }]))
  expect(execFileSync('tar', ['-tf', at('x.tar')], { encoding: 'utf8' })).toBe('data.json\na/b\n')
  expect(header(FILE)).toHaveLength(512)
  expect(gunzipSync(gzipSync('x')).toString()).toBe('x')
})

function many(count: number): void {
  for (let i = 0; i < count; i++) writeFileSync(at(`b/f${i}`), '')
}

function sparse(name: string, length: number): void {
  writeFileSync(at(name), '')
  truncateSync(at(name), length)
}
