import { chmodSync, existsSync, lstatSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createAuthorizerClient } from '../../contracts/client.ts'
import type { Exit } from '../fixtures/process.ts'
import { question } from '../fixtures/question.ts'
import { openRaw } from '../fixtures/raw.ts'
import { type Sidecar, startSidecar, type Tree } from '../fixtures/sidecar.ts'
import { forge } from '../fixtures/tokens.ts'
import { verdictAt } from './asker.ts'
import { type Ground, openGround } from './ground.ts'
import { alive, listeningPorts } from './scrape.ts'

// How it starts, what it refuses to start on, and what a crash means for those who ask.

let ground: Ground
beforeEach(() => {
  ground = openGround()
})
afterEach(() => ground[Symbol.dispose]())

const good = () => question({ token: forge() })
const modeOf = (path: string) => statSync(path).mode & 0o777
const socketAt = (name = 'check.sock') => join(ground.directory, 'run', name)
const onSocket = (over: Tree = {}) =>
  startSidecar({ config: ground.config({ listen: { unix: socketAt() }, ...over }) })

interface Failure {
  readonly code: number | undefined
  readonly said: string
}

// For one that must not come up: how it ended (no code: not at all) and what it said.
async function failing(config: Tree): Promise<Failure> {
  const sidecar = await startSidecar({ config: ground.config(config), wait: 'nothing' })
  const giveUp = new Promise<Exit>((resolve) =>
    setTimeout(() => resolve({ code: undefined, signal: undefined }), 60_000),
  )
  const { code } = await Promise.race([sidecar.exited, giveUp])
  const said = [...sidecar.noise, ...sidecar.events.map((line) => JSON.stringify(line))].join('\n')
  await sidecar.kill()
  return { code, said }
}

async function allows(sidecar: Sidecar): Promise<void> {
  using raw = openRaw(sidecar.unix)
  expect(await verdictAt(raw, good())).toBe('allow')
}

describe('killed with SIGKILL', () => {
  test('it is a denial to the client, and an allow again once a new one is on the same socket', async () => {
    await using first = await onSocket()
    await using client = createAuthorizerClient({ target: `unix://${socketAt()}`, deadlineMs: 5_000 })
    const ask = () => client.check(asClientQuestion())
    expect(await ask()).toMatchObject({ kind: 'allow' })
    await first.kill()
    expect(existsSync(socketAt())).toBe(true)
    expect(await ask()).toMatchObject({ kind: 'deny', client: { status: 503 } })
    await using second = await onSocket()
    await allows(second)
    await expect.poll(async () => (await ask()).kind, { timeout: 60_000 }).toBe('allow')
  })

  test('questions under way end in a refusal, each of them', async () => {
    const sidecar = await onSocket()
    using raw = openRaw(sidecar.unix)
    await verdictAt(raw, good())
    const asked = Array.from({ length: 500 }, () => verdictAt(raw, good()))
    const killed = sidecar.kill()
    const verdicts = await Promise.all(asked)
    await killed
    expect(verdicts.filter((one) => one !== 'allow' && !one.startsWith('status '))).toEqual([])
    expect(await verdictAt(raw, good())).toBe('status 14')
  })

  test('five times in a row it comes back on the same socket', async () => {
    for (let round = 0; round < 5; round++) {
      const sidecar = await startSidecar({
        config: ground.config({ listen: { unix: socketAt() } }),
        wait: 'listening',
      })
      await sidecar.kill()
      expect(alive(sidecar.pid)).toBe(false)
    }
    await using last = await onSocket()
    await allows(last)
  })
})

describe('the socket', () => {
  test('is 0660 in a directory of 0750 that it makes itself', async () => {
    await using sidecar = await onSocket()
    expect(modeOf(socketAt()).toString(8)).toBe('660')
    expect(modeOf(join(ground.directory, 'run')).toString(8)).toBe('750')
    await allows(sidecar)
  })

  test('has the configured modes, whatever the umask', async () => {
    const listen = { unix: socketAt(), mode: '0600', directoryMode: '0700' }
    await using sidecar = await startSidecar({ config: ground.config({ listen }) })
    expect(modeOf(socketAt()).toString(8)).toBe('600')
    expect(modeOf(join(ground.directory, 'run')).toString(8)).toBe('700')
    await allows(sidecar)
  })

  test('leaves the mode of a directory that was there before', async () => {
    mkdirSync(join(ground.directory, 'run'), { mode: 0o755 })
    chmodSync(join(ground.directory, 'run'), 0o755)
    await using sidecar = await onSocket()
    expect(modeOf(join(ground.directory, 'run')).toString(8)).toBe('755')
    await allows(sidecar)
  })

  test('is not put where everyone could replace it', async () => {
    mkdirSync(join(ground.directory, 'run'))
    chmodSync(join(ground.directory, 'run'), 0o777)
    const { code, said } = await failing({ listen: { unix: socketAt() } })
    expect(code).toBe(1)
    expect(said).toMatch(/listen\.unix.*everyone may write/)
  })

  test('is gone after a clean stop', async () => {
    const sidecar = await onSocket()
    expect(await sidecar.stop()).toMatchObject({ code: 0 })
    expect(existsSync(socketAt())).toBe(false)
  })

  test.each([
    ['a regular file', (path: string) => writeFileSync(path, 'precious')],
    ['a directory', (path: string) => mkdirSync(path)],
    ['a link to a file', (path: string) => symlinkSync(join(ground.directory, 'jwks.json'), path)],
  ])('is not put in place of %s', async (_what, put) => {
    mkdirSync(join(ground.directory, 'run'))
    put(socketAt())
    const before = lstatSync(socketAt()).ino
    const { code, said } = await failing({ listen: { unix: socketAt() } })
    expect(code).toBe(1)
    expect(said).toMatch(/listen\.unix.*not a socket.*(?:remove|choose)/)
    expect(lstatSync(socketAt()).ino).toBe(before)
  })
})

describe('a second sidecar', () => {
  test('on a live socket refuses to start, says why, and the first one notices nothing', async () => {
    await using first = await onSocket()
    using raw = openRaw(first.unix)
    const inode = lstatSync(socketAt()).ino
    const { code, said } = await failing({ listen: { unix: socketAt() } })
    expect(code).toBe(1)
    expect(said).toMatch(/listen\.unix.*in use by another process.*(?:stop|choose)/)
    expect(lstatSync(socketAt()).ino).toBe(inode)
    expect(await verdictAt(raw, good())).toBe('allow')
    await allows(first)
  })

  test('on a taken port refuses to start, names the port, and leaves no socket behind', async () => {
    await using first = await startSidecar({ config: ground.config() })
    const listen = { unix: socketAt(), tcp: first.tcp }
    const { code, said } = await failing({ listen })
    expect(code).toBe(1)
    expect(said).toContain('EADDRINUSE')
    expect(said).toContain(first.tcp.split(':')[1])
    expect(existsSync(socketAt())).toBe(false)
    await allows(first)
  })

  test('on a taken admin port refuses to start and names it', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const address = taken.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const { code, said } = await failing({ admin: { listen: `127.0.0.1:${port}` } })
    await new Promise((resolve) => taken.close(resolve))
    expect(code).toBe(1)
    expect(said).toContain('EADDRINUSE')
    expect(said).toContain(String(port))
  })
})

describe('where it listens', () => {
  test('is on the configured listeners and nowhere else', async () => {
    await using sidecar = await startSidecar({ config: ground.config() })
    const told = [sidecar.tcp, sidecar.adminAddress].map((one) => Number(one.split(':').at(-1)))
    expect(listeningPorts(sidecar.pid)).toEqual(told.sort((a, b) => a - b))
    expect(sidecar.tcp).toMatch(/^127\.0\.0\.1:/)
  })

  test('with the socket alone there is no check port', async () => {
    await using sidecar = await onSocket()
    expect(listeningPorts(sidecar.pid)).toEqual([Number(sidecar.adminAddress.split(':').at(-1))])
    await allows(sidecar)
  })

  test('on [::1] it answers there', async () => {
    await using sidecar = await startSidecar({ config: ground.config({ listen: { tcp: '[::1]:0' } }) })
    expect(sidecar.tcp).toMatch(/^\[::1\]:\d+$/)
    await using client = createAuthorizerClient({ target: sidecar.tcp, deadlineMs: 5_000 })
    expect(await client.check(asClientQuestion())).toMatchObject({ kind: 'allow' })
  })
})

function asClientQuestion() {
  return {
    headers: [{ name: 'authorization', value: `Bearer ${forge()}` }],
    method: 'GET',
    url: '/invoices/inv-1',
    action: 'invoice:read',
    resource: { stored: { type: 'invoice', id: 'inv-1', tenant: 'acme', owner: 'alice' } },
  }
}
