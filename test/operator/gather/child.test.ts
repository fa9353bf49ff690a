import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { runChild } from '../../../operator/gather/child.ts'

const sleep = (ms: number, signal: AbortSignal) => delay(ms, undefined, { signal })
const LIMITS = { timeoutMs: 20_000, memoryBytes: 200 << 20, outputBytes: 1 << 16 }
const node = (script: string) => ({ program: process.execPath, args: ['-e', script], cwd: '/' })
const life = new AbortController().signal

test('a child that ends tells its code and what it wrote, and inherits no environment', async () => {
  const script = 'console.log(Object.keys(process.env).sort().join()); console.error("e"); process.exit(3)'
  expect(await runChild(node(script), LIMITS, sleep, life)).toEqual({
    code: 3,
    stdout: 'GOMEMLIMIT,PATH\n',
    stderr: 'e\n',
  })
})

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test.each<readonly [what: string, script: string, limits: Partial<typeof LIMITS>, why: RegExp]>([
  ['time', 'setInterval(() => {}, 1000)', { timeoutMs: 300 }, /took longer than 300 ms/],
  ['memory', 'const a = []; setInterval(() => a.push(Buffer.alloc(20 << 20, 1)), 10)', {}, /of memory/],
  [
    'output',
    'setInterval(() => process.stdout.write("x".repeat(10000)), 1)',
    {},
    /wrote more than 65536 bytes/,
  ],
])('a child that passes its limit of %s is ended', async (_what, script, limits, why) => {
  await expect(runChild(node(script), { ...LIMITS, ...limits }, sleep, life)).rejects.toThrow(why)
})

test('a child ends with whoever waits for it, and so does what it started', async () => {
  const leaving = new AbortController()
  const note = join(mkdtempSync(join(tmpdir(), 'portcullis-child-')), 'pids')
  const script = `const { spawn } = require('node:child_process')
    const inner = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    require('node:fs').writeFileSync(${JSON.stringify(note)}, process.pid + ' ' + inner.pid)
    setInterval(() => {}, 1000)`
  const running = runChild(node(script), LIMITS, sleep, leaving.signal)
  const written = () => existsSync(note) && readFileSync(note, 'utf8').includes(' ')
  while (!written()) await delay(20)
  leaving.abort(new Error('left'))
  await expect(running).rejects.toThrow()
  const pids = readFileSync(note, 'utf8').split(' ').map(Number)
  while (pids.some(alive)) await delay(20)
})
