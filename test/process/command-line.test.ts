import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { startNode } from '../fixtures/process.ts'
import { ROOT, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { BUNDLES, flipBit, type Ground, openGround, revisionOf } from './ground.ts'
import { WRONG, WRONG_ISSUERS } from './wrong-configs.ts'

// The program as an operator meets it: arguments, environment, configuration file.

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

// What a crash would say.
const NOISE = /listening|node_modules|^\s+at /m

interface Run {
  readonly code: number | undefined
  readonly out: string
  readonly err: string
}

// For runs that end by themselves; one that does not is ended and has no code.
async function run(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = ground.directory,
): Promise<Run> {
  const lines = { stdout: [] as string[], stderr: [] as string[] }
  const child = startNode({
    args: [join(ROOT, 'sidecar/main.ts'), ...args],
    cwd,
    env,
    onLine: ({ from, text }) => lines[from].push(text),
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  const { code } = await child.exited
  clearTimeout(timer)
  return { code, out: lines.stdout.join('\n'), err: lines.stderr.join('\n') }
}

function write(config: Tree | string): string {
  const file = join(ground.directory, 'portcullis.yaml')
  writeFileSync(file, typeof config === 'string' ? config : stringify(config))
  return file
}

const complete = (over: Tree = {}): Tree => ({
  version: 1,
  listen: { unix: join(ground.directory, 'run', 'check.sock') },
  admin: { listen: '127.0.0.1:0' },
  ...ground.config(),
  ...over,
})

describe('--version', () => {
  test('names the program, Node and the floor, and ends with 0', async () => {
    const { code, out, err } = await run(['--version'])
    expect(code).toBe(0)
    expect(out).toMatch(/^portcullis \d+\.\d+\.\d+$/m)
    expect(out).toMatch(/^node v24\./m)
    expect(out).toContain(revisionOf(join(ROOT, 'policies/bundle')))
    expect(err).toBe('')
  })
})

describe('--check', () => {
  test('says what it found and ends with 0 when the sidecar could start well', async () => {
    const { code, out, err } = await run(['--config', write(complete()), '--check'])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain(ground.jwksFile)
    expect(out).toContain(revisionOf(BUNDLES.invoices))
    expect(out.split('\n').at(-1)).toBe('ok')
  })

  test('prints the ACL that its user of Redis needs, without scripts', async () => {
    const redis = {
      ...{ mode: 'standalone', nodes: ['127.0.0.1:6379'], keyPrefix: 'shop' },
      ...{ username: 'sidecar', passwordFile: 'redis-password' },
    }
    const { code, out } = await run(['--config', write({ ...complete(), redis }), '--check'])
    expect(code).toBe(0)
    expect(out).toMatch(/^redis standalone: ACL SETUSER sidecar on resetkeys ~shop:\* .*-@all .*\+hsetnx/m)
    expect(out).not.toMatch(/\+(?:eval|@scripting|@dangerous|config|flushall)/)
  })

  test('used proofs that no other replica would know of are told, here and at the start; not with Redis, and not without DPoP', async () => {
    const tokens = { externalBaseURL: 'https://api.test.example' }
    const redis = { mode: 'standalone', nodes: ['127.0.0.1:6379'] }
    const said = async (over: Tree) => (await run(['--config', write(complete(over)), '--check'])).out
    const note = /^note: used DPoP proofs are known to this process alone: .* configure redis$/m
    expect(await said({ tokens })).toMatch(note)
    expect(await said({ tokens, redis })).not.toMatch(note)
    expect(await said({})).not.toMatch(note)
    await using live = await startSidecar({ config: complete({ tokens }) })
    expect(await live.event('proofs_not_shared')).toMatchObject({
      note: expect.stringMatching(/configure redis$/),
    })
  })

  test.each<readonly [string, () => void, RegExp]>([
    [
      'a broken bundle',
      () => ground.policy.use(ground.policy.copy(BUNDLES.invoices, (at) => flipBit(join(at, 'policy.wasm')))),
      /policy .*REFUSED.*policy\.wasm/,
    ],
    ['no bundle', () => ground.policy.use(join(ground.directory, 'nowhere')), /policy .*REFUSED.*no such/],
    ['a key file that is garbage', () => writeFileSync(ground.jwksFile, 'x'), /REFUSED: .*jwks\.json/],
    ['a key file without keys', () => writeFileSync(ground.jwksFile, '{"keys":[]}'), /REFUSED: .*jwks\.json/],
  ])('refuses %s with 2 and says which', async (_what, spoil, said) => {
    spoil()
    const { code, out, err } = await run(['--config', write(complete()), '--check'])
    expect(code).toBe(2)
    expect(`${out}\n${err}`).toMatch(said)
    expect(out.split('\n').at(-1)).not.toBe('ok')
  })

  test('listens nowhere, so that it can run beside the live one', async () => {
    await using live = await startSidecar({ config: complete() })
    const { code } = await run(['--config', write(complete()), '--check'])
    expect(code).toBe(0)
    expect((await live.admin('/readyz')).status).toBe(200)
  })
})

// All faults are told at once, so rows that touch different members can share one start of the program.
function batchesOf(rows: typeof WRONG): readonly Tree[] {
  const batches: Record<string, unknown>[] = []
  for (const [, over] of rows) {
    const free = batches.find((one) => Object.keys(over).every((name) => !(name in one)))
    if (free) Object.assign(free, over)
    else batches.push({ ...over })
  }
  return batches
}

describe('a wrong configuration ends with 2, the path of the fault and a remedy; nothing listens', () => {
  let runs: readonly Run[] = []
  beforeAll(async () => {
    using own = openGround()
    const issuers = WRONG_ISSUERS.map(([, over]) => own.issuer(over))
    const done: Run[] = []
    for (const over of [...batchesOf(WRONG), { issuers }]) {
      const file = join(own.directory, 'portcullis.yaml')
      const listen = { unix: join(own.directory, 'run', 'check.sock') }
      writeFileSync(file, stringify({ version: 1, listen, ...own.config(), ...over }))
      done.push(await run(['--config', file], {}, own.directory))
    }
    runs = done
  })

  test('each time', () => {
    expect(runs.map(({ code, out }) => ({ code, out }))).toEqual(runs.map(() => ({ code: 2, out: '' })))
    for (const { err } of runs) expect(err).not.toMatch(NOISE)
  })

  test.each(WRONG)('%s', (_what, _over, said) => {
    expect(runs.map(({ err }) => err).join('\n')).toMatch(said)
  })

  test.each(WRONG_ISSUERS.map(([what, , said], index) => ({ what, said, index })))(
    'an issuer $what',
    ({ said, index }) => {
      const lines = runs.at(-1)?.err.split('\n') ?? []
      expect(lines.filter((line) => line.includes(`issuers[${index}]`)).join('\n')).toMatch(said)
    },
  )

  test('an issuer given twice', async () => {
    const { code, err } = await run([
      '--config',
      write(complete({ issuers: [ground.issuer(), ground.issuer()] })),
    ])
    expect(code).toBe(2)
    expect(err).toMatch(/issuers\[1\]\.issuer: given twice/)
  })

  test('many faults are told all at once, one a line', async () => {
    const over = {
      version: 3,
      audience: '',
      listen: { tcp: '0.0.0.0:1' },
      limits: { inFlight: 0 },
      extra: 1,
      issuers: [],
    }
    const { code, err } = await run(['--config', write(complete(over))])
    expect(code).toBe(2)
    for (const path of ['version', 'audience', 'listen.tcp', 'limits.inFlight', 'extra', 'issuers']) {
      expect(err).toMatch(new RegExp(`^\\s+${path.replace('.', '\\.')}: `, 'm'))
    }
    expect(err).toMatch(/: 6 problem\(s\)/)
  })

  test.each([
    ['nothing', ''],
    ['no YAML', '{[}'],
    ['a member twice', 'version: 1\nversion: 1\n'],
    ['a list', '- version: 1\n'],
    ['a number', '42'],
    ['a tag', '!!js/function "function () {}"'],
    [
      'an anchor bomb',
      `a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c]\ne: [*d,*d,*d,*d]\n`,
    ],
    ['bytes', '\u0000\u0001\u0002'],
  ])('a file that is %s', async (_what, text) => {
    const { code, out, err } = await run(['--config', write(text)])
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain('problem(s)')
    expect(err).not.toMatch(NOISE)
  })
})

describe('where the configuration comes from', () => {
  test('a file that is not there: 2, its path, and how to name another', async () => {
    const missing = join(ground.directory, 'missing.yaml')
    const { code, err } = await run(['--config', missing])
    expect(code).toBe(2)
    expect(err).toContain(missing)
    expect(err).toMatch(/ENOENT.*--config.*PORTCULLIS_CONFIG/)
  })

  test('a directory: the same', async () => {
    const { code, err } = await run(['--config', ground.directory])
    expect(code).toBe(2)
    expect(err).toContain('EISDIR')
  })

  test('PORTCULLIS_CONFIG names it when no argument does, and the argument wins', async () => {
    const file = write(complete())
    expect((await run(['--check'], { PORTCULLIS_CONFIG: file })).code).toBe(0)
    const missing = join(ground.directory, 'missing.yaml')
    expect((await run(['--check', '--config', file], { PORTCULLIS_CONFIG: missing })).code).toBe(0)
    expect((await run(['--check'], { PORTCULLIS_CONFIG: missing })).code).toBe(2)
  })

  test.each([['--chekc'], ['--config'], ['surplus']])(
    'an argument that is none (%s) does not start it',
    async (argument) => {
      const { code, out, err } = await run([argument])
      expect([1, 2]).toContain(code)
      expect(out).toBe('')
      expect(err).not.toBe('')
      expect(err).not.toMatch(NOISE)
    },
  )

  test('the environment overrides listeners and the policy path', async () => {
    const unix = join(ground.directory, 'elsewhere', 'env.sock')
    await using sidecar = await startSidecar({
      config: ground.config({ policy: { path: join(ground.directory, 'nowhere') } }),
      env: {
        PORTCULLIS_LISTEN_UNIX: unix,
        PORTCULLIS_LISTEN_TCP: '[::1]:0',
        PORTCULLIS_ADMIN_LISTEN: '[::1]:0',
        PORTCULLIS_POLICY_PATH: BUNDLES.edited,
      },
    })
    expect(sidecar.unix).toBe(unix)
    expect(sidecar.tcp).toMatch(/^\[::1\]:/)
    expect(sidecar.adminAddress).toMatch(/^\[::1\]:/)
    expect((await sidecar.admin('/readyz')).text).toContain(revisionOf(BUNDLES.edited))
  })

  test('the environment overrides no belief, and its values are checked like those of the file', async () => {
    const file = write(complete())
    const beliefs = { PORTCULLIS_AUDIENCE: 'x', PORTCULLIS_ISSUERS: 'y', PORTCULLIS_LIMITS: 'z' }
    const { code, out } = await run(['--check', '--config', file], beliefs)
    expect(code).toBe(0)
    expect(out).not.toMatch(/audience x/)
    const wrong = await run(['--check', '--config', file], { PORTCULLIS_LISTEN_TCP: '0.0.0.0:1' })
    expect(wrong.code).toBe(2)
    expect(wrong.err).toContain('listen.tcp')
  })
})
