import { parseArgs } from 'node:util'
import { knownClusters, stopCluster } from './stop.ts'

// node test/cluster-node/down.ts [--name N | --all]: ends the cluster and removes all of it; quiet about a second time.

const { values } = parseArgs({
  options: { name: { type: 'string', default: 'dev' }, all: { type: 'boolean', default: false } },
})

for (const name of values.all ? knownClusters() : [values.name]) {
  const began = performance.now()
  const there = await stopCluster(name)
  const ms = Math.round(performance.now() - began)
  console.error(there ? `cluster: ${name} ended and removed in ${ms} ms` : `cluster: no ${name} here`)
}
