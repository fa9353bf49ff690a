import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { notRun } from '../cluster-node/not-run.ts'
import { onPath, ROOT } from '../cluster-node/tool.ts'
import { buildImages, type ImageBuilt } from './build.ts'
import { closureOf } from './closure.ts'
import { emitSidecar } from './emit.ts'
import { tar } from './tar.ts'

const needs = ['strip', 'ldd', 'tar'].filter((one) => !onPath(one))
const platform = process.platform === 'linux' ? undefined : 'needs Linux'
const reason = notRun(
  'cluster',
  'test/images/images.test.ts',
  platform ?? needs.map((one) => `needs ${one}`)[0],
)

describe.skipIf(reason)('the image of the sidecar', () => {
  let work: string
  let image: ImageBuilt
  let names: readonly string[]
  let config: ImageConfig

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'portcullis-images-'))
    const dist = emitSidecar(work)
    const build = async () => (await buildImages({ dist, only: ['sidecar'] }))['sidecar']
    const first = await build()
    if (!first) throw new Error('no image')
    image = first
    const opened = openArchive(image.archive)
    names = opened.layers.flatMap(listed)
    config = opened.config
  }, 120_000)
  afterAll(() => rmSync(work, { recursive: true, force: true }))

  test('is the same to the last byte when another process builds it in another place and time zone', () => {
    const dist = join(work, 'again/dist')
    cpSync(join(work, 'dist'), dist, { recursive: true })
    symlinkSync(join(ROOT, 'node_modules'), join(work, 'again/node_modules'))
    const script = join(ROOT, 'test/images/build.ts')
    const code = `const { buildImages } = await import(${JSON.stringify(script)})
      console.log((await buildImages({ dist: ${JSON.stringify(dist)}, only: ['sidecar'] })).sidecar.archive)`
    const cache = join(work, 'cache')
    const env = { ...process.env, XDG_CACHE_HOME: cache, TZ: 'Asia/Tokyo', LANG: 'tr_TR.UTF-8' }
    const run = [
      'sh',
      ['-c', 'umask 077; exec "$0" --input-type=module -e "$1"', process.execPath, code],
    ] as const
    const other = execFileSync(run[0], run[1], { encoding: 'utf8', env }).trim()
    expect(other.startsWith(cache)).toBe(true)
    expect(readFileSync(other).equals(readFileSync(image.archive))).toBe(true)
    const list = (path: string) => readFileSync(path.replace(/\.tar$/, '.cdx.json'), 'utf8')
    expect(list(other)).toBe(list(image.archive))
  })

  test('holds the program and what it imports', () => {
    expect(names).toContain('app/dist/sidecar/main.js')
    expect(names).toContain('app/node_modules/@grpc/grpc-js/build/src/index.js')
    expect(names).toContain('app/policies/bundle/policy.wasm')
    expect(names).toContain('usr/local/bin/node')
  })

  test.each([
    ['the Kubernetes client', /@kubernetes|client-node/],
    ['anything of the operator', /^app\/dist\/operator\//],
    ['the policy compiler', /(^|\/)opa$/],
    ['a shell', /(^|\/)(sh|bash|dash|busybox)$/],
    ['a package manager', /(^|\/)(npm|npx|yarn|corepack|apt|dpkg)$/],
    ['sources or typings', /(?<!rego)\.ts$|\.map$/],
    ['tests', /\.test\.|\/tests?\//],
    ['a key or certificate', /\.(pem|key|crt|p12)$/],
  ])('does not hold %s', (_, pattern) => {
    expect(names.filter((name) => pattern.test(name))).toEqual([])
  })

  test('runs as its own user, with the flags of npm start', () => {
    expect(config.config['User']).toBe('64531:64531')
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const entrypoint = (config.config['Entrypoint'] as readonly string[]).join(' ')
    expect(entrypoint).toBe(
      scripts.start.replace('node ', '/usr/local/bin/node ').replace('dist/', '/app/dist/'),
    )
  })

  test('runs with nothing of this machine: in a root of its own the program says its versions', () => {
    const root = join(work, 'root')
    execFileSync('mkdir', ['-p', root])
    for (const layer of openArchive(image.archive).layers)
      execFileSync('tar', ['-x', '-C', root], { input: layer })
    const main = '/app/dist/sidecar/main.js'
    const chroot = ['--map-root-user', '--root', root, '--wd=/app', '/usr/local/bin/node', main, '--version']
    expect(execFileSync('unshare', chroot, { encoding: 'utf8', env: {} })).toMatch(/portcullis|0\.\d+\.\d+/)
  })

  test('its bill of materials names each package of it once, Node and the libraries', () => {
    const { components } = JSON.parse(readFileSync(image.sbom ?? '', 'utf8')) as {
      readonly components: readonly { readonly name: string; readonly purl: string }[]
    }
    const inImage = names.flatMap(
      (name) => name.match(/node_modules\/((?:@[^/]+\/)?[^/@]+)\/package\.json$/)?.[1] ?? [],
    )
    const npm = components.filter(({ purl }) => purl.startsWith('pkg:npm/')).map(({ name }) => name)
    expect([...npm].sort()).toEqual([...inImage].sort())
    expect(components.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['node', 'libc6', 'portcullis']),
    )
  })
})

describe.skipIf(reason)('the image of the operator', () => {
  test('carries the pinned compiler and all that it compiles with, and its own main', async () => {
    const work = mkdtempSync(join(tmpdir(), 'portcullis-operator-'))
    try {
      symlinkSync(join(ROOT, 'node_modules'), join(work, 'node_modules'))
      mkdirSync(join(work, 'dist/operator'), { recursive: true })
      writeFileSync(join(work, 'dist/operator/main.js'), "import * as k8s from '@kubernetes/client-node'\n")
      const { operator } = await buildImages({ dist: join(work, 'dist'), only: ['operator'] })
      const { layers, config } = openArchive(operator?.archive ?? '')
      const names = layers.flatMap(listed)
      for (const path of [
        'dist/operator/main.js',
        'policies/portcullis/floor.rego',
        'policies/capabilities.json',
      ]) {
        expect(names).toContain(`app/${path}`)
      }
      expect(names).toContain('app/node_modules/@kubernetes/client-node/dist/index.js')
      expect(config.config['User']).toBe('64532:64532')
      const root = join(work, 'root')
      mkdirSync(root)
      for (const one of layers) execFileSync('tar', ['-x', '-C', root], { input: one })
      const inside = (...command: readonly string[]) =>
        execFileSync('unshare', ['--map-root-user', '--root', root, '--wd=/app', ...command], {
          encoding: 'utf8',
          env: {},
        })
      const pinned = readFileSync(join(ROOT, 'test/toolchain/opa/go.mod'), 'utf8').match(/opa v([\d.]+)/)?.[1]
      expect(inside('/usr/local/bin/opa', 'version')).toContain(`Version: ${pinned}`)
      expect(inside('/usr/local/bin/node', '/app/dist/operator/main.js')).toBe('')
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  }, 300_000)
})

describe('what a main reaches', () => {
  test('a file that is not there is named', () => {
    expect(() => closureOf('/nowhere/main.js')).toThrow('/nowhere/main.js')
  })

  test('a package that is not installed is named', () => {
    const work = mkdtempSync(join(tmpdir(), 'portcullis-closure-'))
    writeFileSync(join(work, 'main.js'), "import { x } from 'no-such-package-here'\n")
    expect(() => closureOf(join(work, 'main.js'))).toThrow('no-such-package-here')
    rmSync(work, { recursive: true })
  })
})

describe('tar', () => {
  test('a long path is split so that others can read it, and a longer one is refused', () => {
    const path = `${'folder/'.repeat(20)}${'f'.repeat(90)}`
    const listing = execFileSync('tar', ['-t'], {
      input: tar([{ path, content: Buffer.from('x') }]),
      encoding: 'utf8',
    })
    expect(listing.split('\n')).toContain(path)
    expect(() => tar([{ path: 'f'.repeat(101) }])).toThrow('too long')
  })

  test('the order of entries does not matter', () => {
    const [a, b] = [
      { path: 'a/x', content: Buffer.from('1') },
      { path: 'b', content: Buffer.from('2') },
    ] as const
    expect(tar([a, b]).equals(tar([b, a]))).toBe(true)
  })
})

interface ImageConfig {
  readonly config: Readonly<Record<string, unknown>>
}

function openArchive(path: string): { readonly layers: readonly Buffer[]; readonly config: ImageConfig } {
  const read = (member: string) => execFileSync('tar', ['-xOf', path, member], { maxBuffer: 1 << 30 })
  const blob = (digest: string) => read(`blobs/${digest.replace(':', '/')}`)
  const index = JSON.parse(read('index.json').toString('utf8'))
  const manifest = JSON.parse(blob(index.manifests[0].digest).toString('utf8'))
  const layers = manifest.layers.map((one: { readonly digest: string }) =>
    execFileSync(process.execPath, ['-e', UNPACK], { input: blob(one.digest), maxBuffer: 1 << 30 }),
  )
  return { layers, config: JSON.parse(blob(manifest.config.digest).toString('utf8')) }
}

const UNPACK = 'process.stdin.pipe(require("node:zlib").createZstdDecompress()).pipe(process.stdout)'

function listed(layer: Buffer): readonly string[] {
  const out = execFileSync('tar', ['-t'], { input: layer, encoding: 'utf8', maxBuffer: 64 << 20 })
  return out.trim().split('\n')
}
