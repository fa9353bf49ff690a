import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cluster, openCluster } from '../cluster-node/cluster.ts'
import { notRun } from '../cluster-node/not-run.ts'
import { ROOT, tool } from '../cluster-node/tool.ts'
import { clusterUnavailable } from '../cluster-node/unavailable.ts'
import { buildImages } from '../images/build.ts'

// docs/install.md, word for word: its blocks in order in one shell, on an empty cluster.

const reason = notRun('e2e', 'install.test.ts', clusterUnavailable())
const run = promisify(execFile)

describe.skipIf(reason)('docs/install.md', () => {
  let cluster: Cluster & AsyncDisposable
  let env: Readonly<Record<string, string | undefined>>
  beforeAll(async () => {
    const { sidecar, operator } = await buildImages({ only: ['sidecar', 'operator'] })
    if (!sidecar || !operator) throw new Error('an image is missing: run make build')
    cluster = await openCluster({ name: 'e2e-install', images: [sidecar.archive, operator.archive] })
    const programs = [await tool('helm'), await tool('kubectl'), process.execPath].map((path) =>
      dirname(path),
    )
    env = {
      ...process.env,
      PATH: [...programs, process.env['PATH']].join(':'),
      KUBECONFIG: cluster.kubeconfig,
      KUBECACHEDIR: join(cluster.logs, 'kubectl-cache'),
      OPERATOR_IMAGE: operator.pinned,
      SIDECAR_IMAGE: sidecar.pinned,
    }
  })
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
  })

  test('leads from an empty cluster to an allow and a deny, and back', async () => {
    const page = readFileSync(join(ROOT, 'docs/install.md'), 'utf8')
    const blocks = [...page.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block)
    expect(blocks.length).toBeGreaterThan(4)
    const script = `set -euo pipefail\n${blocks.join('\n')}`
    const { stdout } = await run('bash', ['-c', script], {
      cwd: ROOT,
      env,
      timeout: 600_000,
      maxBuffer: 1 << 24,
    })
    expect(stdout).toMatch(/^ALLOW alice by invoice\.read\.owner$/m)
    expect(stdout).toMatch(/^DENY 403 policy_denied$/m)
    expect(stdout).toMatch(/3\/3 at sha256:/)
  }, 700_000)
})
