import { defineConfig } from 'vitest/config'

// One project a kind of proof. `unit` needs nothing; the others start real processes or read large vector files.
const project = (name: string, include: readonly string[], more: object = {}) => ({
  extends: true as const,
  test: { name, include: [...include], ...more },
})

const patient = { testTimeout: 120_000, hookTimeout: 120_000 }

export default defineConfig({
  test: {
    environment: 'node',
    reporters: ['default', './test/reporter.ts'],
    testTimeout: 30_000,
    pool: 'forks',
    projects: [
      project('unit', [
        'test/*.test.ts',
        'test/sidecar/**/*.test.ts',
        'test/operator/**/*.test.ts',
        'test/contracts/**/*.test.ts',
      ]),
      project('attacks', ['test/attacks/**/*.test.ts', 'test/laws/**/*.test.ts'], patient),
      project('conformance', ['test/conformance/**/*.test.ts', 'test/policies/**/*.test.ts'], patient),
      project('cluster', ['test/cluster/**/*.test.ts'], { ...patient, fileParallelism: false }),
      project('e2e', ['test/cluster-node/**/*.test.ts', 'test/e2e/**/*.test.ts'], {
        ...patient,
        fileParallelism: false,
      }),
      project('process', ['test/process/**/*.test.ts'], { ...patient, fileParallelism: false }),
    ],
  },
})
