import type { World } from './world.ts'

/** MiB of each process whose command line holds this, as the kernel counts them (/proc/PID/smaps_rollup). */
export async function memoryOf(world: World, commandLine: string): Promise<readonly object[]> {
  const script = String.raw`for p in $(pgrep -f -- "$1"); do
    [ "$p" = $$ ] || ! grep -q kubepods /proc/$p/cgroup || { cat /proc/$p/smaps_rollup && printf '\001'; }; done 2>/dev/null; true`
  const rollups = (await world.cluster.nodeExec(['sh', '-c', script, 'sh', commandLine])).split('\u0001')
  return rollups
    .filter((text) => text.includes('Rss:'))
    .map((text) => {
      const of = (name: string) =>
        mebibytes(Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]) * 1024)
      return { rss: of('Rss'), pss: of('Pss'), anonymous: of('Anonymous') }
    })
}

interface Summary {
  readonly pods: readonly {
    readonly podRef: { readonly name: string; readonly namespace: string }
    readonly containers: readonly {
      readonly name: string
      readonly memory?: { readonly workingSetBytes?: number }
    }[]
  }[]
}

/** What `kubectl top` would show of our containers. */
export async function workingSets(world: World, system: string): Promise<Readonly<Record<string, number>>> {
  const text = await world.kubectl([
    'get',
    '--raw',
    `/api/v1/nodes/${world.cluster.name}/proxy/stats/summary`,
  ])
  const { pods } = JSON.parse(text) as Summary
  return Object.fromEntries(
    pods.flatMap(({ podRef, containers }) =>
      containers
        .filter(({ name }) => name === 'portcullis' || podRef.namespace === system)
        .map(({ name, memory }) => [
          `${podRef.name}/${name}`,
          mebibytes(memory?.workingSetBytes ?? Number.NaN),
        ]),
    ),
  )
}

const mebibytes = (bytes: number): number => Number((bytes / (1 << 20)).toFixed(1))
