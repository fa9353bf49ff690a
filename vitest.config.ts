import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { defineConfig } from 'vitest/config'
import { notRun } from './test/cluster-node/not-run.ts'

// One project a kind of proof. `unit` needs nothing; the others start real processes or read large vector files.
const project = (name: string, include: readonly string[], more: object = {}) => ({
  extends: true as const,
  test: { name, include: [...include], ...more },
})

// These start servers of Redis.
const REDIS = ['redis-*', 'revocation-log-redis', 'senders', 'refresh-families', 'verify-token-once']
const hasRedis = (process.env['PATH'] ?? '')
  .split(delimiter)
  .some((one) => existsSync(join(one, 'redis-server')))
const withoutRedis = notRun(
  'process',
  REDIS.join(', '),
  hasRedis ? undefined : 'there is no redis-server; test/toolchain/debian.sh installs it',
)

const patient = { testTimeout: 120_000, hookTimeout: 120_000 }

// They wait more than they compute: three files at a time, after everything that keeps the cores busy.
const waiting = { maxWorkers: 3, sequence: { groupOrder: 1 } }

export default defineConfig({
  test: {
    environment: 'node',
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 30_000,
    pool: 'forks',
    expect: { poll: { timeout: 20_000 } },
    projects: [
      project('unit', [
        'test/*.test.ts',
        'test/sidecar/**/*.test.ts',
        'test/operator/**/*.test.ts',
        'test/contracts/**/*.test.ts',
        'test/bench/**/*.test.ts',
      ]),
      project('attacks', ['test/attacks/**/*.test.ts', 'test/laws/**/*.test.ts'], patient),
      project('conformance', ['test/conformance/**/*.test.ts', 'test/policies/**/*.test.ts'], patient),
      // Against a real API server, and against everything the toolchain builds; cold, that takes long.
      project(
        'cluster',
        ['cluster', 'cluster-node', 'images', 'chart'].map((room) => `test/${room}/**/*.test.ts`),
        { ...waiting, testTimeout: 180_000, hookTimeout: 1_800_000 },
      ),
      project('e2e', ['test/e2e/**/*.test.ts'], { ...waiting, testTimeout: 300_000, hookTimeout: 1_800_000 }),
      project('process', ['test/process/**/*.test.ts', 'test/faults/**/*.test.ts'], {
        ...patient,
        ...waiting,
        exclude: withoutRedis ? REDIS.map((name) => `test/process/${name}.test.ts`) : [],
      }),
    ],
  },
})
